"""What ignoring created times would have leaked into a training set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class LeakageReport:
    """By feature: how many of the rows would hold another value by event time alone.

    rows: of the spine. differing: values that differ. missing: values that are null when known_at is "created".
    """

    rows: int
    differing: Mapping[str, int]
    missing: Mapping[str, int]

    def __str__(self) -> str:
        lines = [f"{self.rows} rows; values that differ between known_at='created' and 'event':"]
        for name, count in self.differing.items():
            share = count / self.rows if self.rows else 0.0
            lines.append(f"  {name}: {count} ({share:.1%}); null as known: {self.missing[name]}")
        return "\n".join(lines)


def compare(created: "DataFrame", event: "DataFrame", columns: Sequence[str]) -> LeakageReport:
    """The report for one spine joined both ways.

    Args:
        created, event: the same spine rows, keys and times and all, each with the features.
        columns: the features.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    own = [name for name in created.columns if name not in columns]
    # Rows that are alike in all the spine's columns have the same features, so any order of them will do.
    numbered = Window.partitionBy(*(f"`{name}`" for name in own)).orderBy(F.lit(0))

    def packed(frame: "DataFrame", side: str) -> "DataFrame":
        values = F.struct(*(F.col(f"`{name}`") for name in columns)).alias(side)
        identity = F.struct(*(F.col(f"`{name}`") for name in own)).alias("_spine")
        return frame.select(identity, values, F.row_number().over(numbered).alias("_copy"))

    left, right = packed(created, "_created"), packed(event, "_event")
    same_row = left["_spine"].eqNullSafe(right["_spine"]) & (left["_copy"] == right["_copy"])
    both = left.join(right, same_row)
    counts = [F.count(F.lit(1))]
    for name in columns:
        before, after = F.col(f"_created.`{name}`"), F.col(f"_event.`{name}`")
        counts += [F.count_if(~before.eqNullSafe(after)), F.count_if(before.isNull())]
    found = both.agg(*(count.alias(f"c{place}") for place, count in enumerate(counts))).first()
    totals = [int(value) for value in found] if found is not None else [0] * len(counts)
    return LeakageReport(
        rows=totals[0],
        differing=dict(zip(columns, totals[1::2], strict=True)),
        missing=dict(zip(columns, totals[2::2], strict=True)),
    )
