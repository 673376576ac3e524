"""What ignoring created times would have leaked into a training set, and how much of its spine found nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from features.engine.as_of import AsOf, Pin, plan_join
from features.engine.as_of.requests import EXPIRED, NOT_FOUND
from features.engine.spine import Spine
from features.training.asked import Asked
from features.training.on_demand import Derivation
from features.training.row_plans import collect_tasks

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureLeakage:
    """Of one feature, in rows of the spine.

    differing: another value by event time alone than by what was known. not_found: no row was visible.
    past_lookback: the row that was found is too old. null: it counts, and its value is null; of an on-demand feature,
    all nulls.
    """

    differing: int = 0
    not_found: int = 0
    past_lookback: int = 0
    null: int = 0

    def __add__(self, other: "FeatureLeakage") -> "FeatureLeakage":
        return FeatureLeakage(
            differing=self.differing + other.differing,
            not_found=self.not_found + other.not_found,
            past_lookback=self.past_lookback + other.past_lookback,
            null=self.null + other.null,
        )

    @property
    def missing(self) -> int:
        """Rows without a value, as known."""
        return self.not_found + self.past_lookback + self.null


@dataclass(frozen=True, kw_only=True, slots=True)
class LeakageReport:
    """rows: of the spine. features: by column, in the order asked."""

    rows: int
    features: Mapping[str, FeatureLeakage]

    @property
    def differing(self) -> dict[str, int]:
        """By feature: rows whose value differs between known_at "created" and "event"."""
        return {name: found.differing for name, found in self.features.items()}

    @property
    def missing(self) -> dict[str, int]:
        """By feature: rows whose value is null when known_at is "created"."""
        return {name: found.missing for name, found in self.features.items()}

    def share(self, count: int) -> float:
        """A count of rows as a share of the spine; 0 of an empty one."""
        return count / self.rows if self.rows else 0.0

    def __str__(self) -> str:
        lines = [f"{self.rows} rows; values that differ between known_at='created' and 'event':"]
        for name, found in self.features.items():
            told = (
                f"not found {self.share(found.not_found):.1%}, past lookback {self.share(found.past_lookback):.1%}, "
                f"null {self.share(found.null):.1%}"
            )
            lines.append(f"  {name}: {found.differing} ({self.share(found.differing):.1%}); as known: {told}")
        return "\n".join(lines)


def measure_leakage(spine: Spine, frame: "DataFrame", pins: Sequence[Pin], asked: Asked) -> LeakageReport:
    """The report for a spine, in one pass over it: every view is joined both ways, and counted inside the tasks.

    Args:
        spine: the rows; frame: all their columns. pins: where each view is read. asked: the features.
    """
    requests = []
    statuses: dict[str, str] = {}
    by_event: dict[str, str] = {}
    for place, pin in enumerate(pins):
        renamed = {column: f"_event_{place}_{nth}" for nth, column in enumerate(pin.selection.columns)}
        by_event |= renamed
        statuses |= dict.fromkeys(renamed, f"_status_{place}")
        selection = replace(pin.selection, columns=tuple(renamed.values()))
        requests.append(AsOf(pin=pin, status=f"_status_{place}"))
        requests.append(AsOf(pin=replace(pin, selection=selection), known_at="event"))
    counter = _Counter(asked.columns, statuses, by_event, asked.derivation)
    answers = collect_tasks(
        plan_join(spine, requests, frame=frame).to_tasks(counter, "counts string"), doing="counting"
    )
    rows, totals = 0, dict.fromkeys(asked.columns, FeatureLeakage())
    for answer in answers:
        told = json.loads(answer["counts"])
        rows += told["rows"]
        for name, counts in told["features"].items():
            totals[name] += FeatureLeakage(**counts)
    return LeakageReport(rows=rows, features=totals)


@dataclass(frozen=True)
class _Counter:
    """Counts in a task; answers with one row.

    columns: of the answer. statuses: of each joined column, the one that says what was found. by_event: of each joined
    column, the one that holds its value by event time.
    """

    columns: tuple[str, ...]
    statuses: Mapping[str, str]
    by_event: Mapping[str, str]
    derivation: Derivation

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        rows, totals = 0, dict.fromkeys(self.columns, FeatureLeakage())
        for batch in batches:
            rows += batch.num_rows
            known, leaky = self._answers(batch)
            for name in self.columns:
                totals[name] += self._count(batch, known.column(name), leaky.column(name), name)
        features = {
            name: {field: getattr(found, field) for field in FeatureLeakage.__slots__} for name, found in totals.items()
        }
        yield pa.RecordBatch.from_pydict({"counts": [json.dumps({"rows": rows, "features": features})]})

    def _answers(self, batch: "pa.RecordBatch") -> "tuple[pa.RecordBatch, pa.RecordBatch]":
        """The answer by what was known, and by event time alone."""
        added = {*self.by_event, *self.by_event.values(), *self.statuses.values()}
        own = [name for name in batch.schema.names if name not in added]
        known = batch.select([*own, *self.by_event])
        leaky = batch.select([*own, *self.by_event.values()]).rename_columns([*own, *self.by_event])
        if self.derivation.is_needed:
            return self.derivation.apply(known), self.derivation.apply(leaky)
        return known, leaky

    def _count(self, batch: "pa.RecordBatch", known: "pa.Array", leaky: "pa.Array", name: str) -> FeatureLeakage:
        import numpy as np
        import pyarrow.compute as pc

        from features.training.content_hash import cells

        absent = pc.is_null(known).to_numpy(zero_copy_only=False)
        differing = (cells(known) != cells(leaky)).any(axis=0)
        if name not in self.statuses:
            return FeatureLeakage(differing=int(differing.sum()), null=int(absent.sum()))
        status = batch.column(self.statuses[name]).to_numpy(zero_copy_only=False)
        not_found, expired = status == NOT_FOUND, status == EXPIRED
        return FeatureLeakage(
            differing=int(differing.sum()),
            not_found=int(not_found.sum()),
            past_lookback=int(expired.sum()),
            null=int(np.sum(absent & ~not_found & ~expired)),
        )
