"""What the gate says of a run's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from features.core.profile import Profile
from features.errors import RefusedError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult:
    """How one rule fared: one result per interval that failed it, or a single one for the whole range where all passed.

    column: the feature, join key, event_timestamp or source judged, "*" for rows as such.
    rule: such as `between(0, 1)`.
    interval_end: ISO, of the interval that failed; "" where every interval passed.
    failing and rows: counts; keys: a few failing keys, such as `customer='a'`, never values of features.
    detail: of a rule that judges intervals as a whole, what it found; failing and rows then count intervals.
    """

    column: str
    rule: str
    severity: str
    interval_end: str
    failing: int
    rows: int
    keys: tuple[str, ...] = ()
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether no row fails."""
        return self.failing == 0

    def to_dict(self) -> dict[str, Any]:
        """The fields in JSON's types."""
        return {**asdict(self), "keys": list(self.keys)}

    def __str__(self) -> str:
        told = self.detail or f"{self.failing} of {self.rows} rows fail"
        found = f"{self.column}: {self.rule} ({self.severity}): {told}"
        where = f" in the interval that ends at {self.interval_end}" if self.interval_end else ""
        return found + where + (f", such as {'; '.join(self.keys)}" if self.keys else "")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The rows that may be published, the rows that are withheld, and how every rule fared.

    accepted: the very frame that was judged, where nothing is withheld.
    quarantined: the withheld rows with `_reasons` (array of strings), or None where there are none.
    profiles: the figures of each interval of the run, by its end, which later ones are compared with.
    """

    accepted: "DataFrame"
    quarantined: "DataFrame | None"
    quarantined_rows: int
    results: tuple[RuleResult, ...]
    profiles: Mapping[datetime, Profile] = field(default_factory=dict)


class GateRefusedError(RefusedError):
    """An interval failed a rule of severity `refuse`. `results`: how every rule fared, refusing or not."""

    def __init__(self, message: str, results: Sequence[RuleResult] = ()) -> None:
        super().__init__(message)
        self.results = tuple(results)
