"""What the registry holds of a view and a service: an immutable version, and the names of its tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.core.definitions import Feature, FeatureService, ViewSpec
from features.core.suites import Suite
from features.errors import UsageError

if TYPE_CHECKING:
    from features.core.applied_on_demand import Requested


@dataclass(frozen=True, kw_only=True, slots=True)
class AppliedView(ViewSpec):
    """One version of a view as it was applied: its spec, without its code.

    suite: the team's own expectations, as they were in their file when it was applied.
    """

    version: int
    definition_hash: str
    suite: Suite | None = None

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def log_path(self) -> str:
        """The offline log's path below the warehouse."""
        return f"{self.name}/v{self.version}"

    @property
    def online_table(self) -> str:
        """The online table's name."""
        return f"{self.name}__v{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AppliedService(FeatureService):
    """One version of a service as it was applied."""

    version: int

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class RequestedFeature:
    """One column of an answer: a feature of one version of a view."""

    view: AppliedView
    feature: Feature


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """All that a request asks of one view: its features and, beside each, the name of its column in the answer."""

    view: AppliedView
    features: tuple[Feature, ...]
    columns: tuple[str, ...]


def name_columns(requested: "Sequence[Requested]", *, full_feature_names: bool = False) -> tuple[str, ...]:
    """The column of each requested feature: its bare name, or `view__feature`.

    Raises: UsageError: two features would have one name, or a feature the name of a join key.
    """
    names = tuple(f"{r.view.name}__{r.feature.name}" if full_feature_names else r.feature.name for r in requested)
    keys = {key for r in requested for key in r.view.join_keys}
    for position, name in enumerate(names):
        if name in names[:position]:
            views = " and ".join(r.view.reference for r, n in zip(requested, names, strict=True) if n == name)
            hint = (
                "ask for one of them" if full_feature_names else "pass full_feature_names=True, or ask for one of them"
            )
            raise UsageError(f"two features would be named {name!r}, of {views}; {hint}")
        if name in keys:
            feature = f"{requested[position].view.name}:{name}"
            raise UsageError(f"feature {feature} has the name of a join key; pass full_feature_names=True")
    return names


def select_by_view(requested: Sequence[RequestedFeature], columns: Sequence[str]) -> tuple[Selection, ...]:
    """The request by view, views in the order in which they first occur."""
    grouped: dict[str, list[tuple[RequestedFeature, str]]] = {}
    for item, column in zip(requested, columns, strict=True):
        grouped.setdefault(item.view.reference, []).append((item, column))
    return tuple(
        Selection(
            view=group[0][0].view, features=tuple(r.feature for r, _ in group), columns=tuple(c for _, c in group)
        )
        for group in grouped.values()
    )
