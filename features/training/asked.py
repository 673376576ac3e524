"""What a training set was asked for: features, how they are computed, and what the manifest tells of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.core.request import CompiledRequest
from features.errors import UsageError
from features.training.on_demand import Derivation

KNOWN_AT = ("created", "event")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request for features.

    features: as it was written. service: the version of the service that it names, None for references. references: of
    each feature, with the version that was found: `view@version:feature`, in the order of the columns.
    compiled: what is read and computed. derivation: how on-demand features are computed of what was read.
    known_at: "created" or "event". as_of: the moment, or Delta versions, that the logs are read at, as JSON; None: the
    newest.
    """

    features: str | Sequence[str]
    service: str | None
    references: Sequence[str]
    compiled: CompiledRequest
    derivation: Derivation
    known_at: str = "created"
    as_of: Any = None
    full_feature_names: bool = False

    def __post_init__(self) -> None:
        if self.known_at not in KNOWN_AT:
            raise UsageError(f'known_at must be "created" or "event", got {self.known_at!r}')

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' columns, in the order asked."""
        return self.compiled.columns

    def to_json(self) -> Mapping[str, Any]:
        """As a manifest holds it."""
        return {
            "features": self.features if isinstance(self.features, str) else list(self.features),
            "service": self.service,
            "references": list(self.references),
            "full_feature_names": self.full_feature_names,
            "known_at": self.known_at,
            "as_of": self.as_of,
            "columns": list(self.columns),
            "on_demand": [
                {"view": c.view.reference, "definition_hash": c.view.definition_hash} for c in self.compiled.computed
            ],
        }
