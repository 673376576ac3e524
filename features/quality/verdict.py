"""What the gate says of a run's rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult:
    """How one rule fared on the rows of one interval.

    column: the feature or join key judged; rule: such as `between(0, 1)`; interval_end: ISO, of the interval judged.
    failing and rows: counts; keys: a few failing keys, such as `customer='a'`, never values of features.
    """

    column: str
    rule: str
    severity: str
    interval_end: str
    failing: int
    rows: int
    keys: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no row fails."""
        return self.failing == 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The rows that may be published, the rows that are withheld, and how every failed rule fared.

    quarantined: the withheld rows with `_reasons` (array of strings), or None where there are none.
    """

    accepted: "DataFrame"
    quarantined: "DataFrame | None"
    quarantined_rows: int
    results: tuple[RuleResult, ...]
