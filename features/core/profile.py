"""The figures of one interval that later intervals are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What the gate counted in an interval, of all rows that the transform gave for it.

    nulls: how many rows have none, by feature. means: over values that are numbers, by feature; None: there was none.
    Both hold the features that a check of the view asked for when the interval was built.
    """

    rows: int
    nulls: Mapping[str, int] = field(default_factory=dict)
    means: Mapping[str, float | None] = field(default_factory=dict)

    def null_share(self, feature: str) -> float | None:
        """From 0 to 1; None where there are no rows, or nulls were not counted."""
        nulls = self.nulls.get(feature)
        return None if nulls is None or not self.rows else nulls / self.rows

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"rows": self.rows, "nulls": dict(self.nulls), "means": dict(self.means)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave, of this release or an earlier one."""
        return cls(rows=content["rows"], nulls=content.get("nulls", {}), means=content.get("means", {}))
