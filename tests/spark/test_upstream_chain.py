"""A view over a view, against plain Python: however its intervals were built, and once a source was corrected."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features import Aggregation, DType, FeatureView, ViewSource
from features.core.times import to_micros
from features.functions import F
from features.materialization.backfill import backfill
from tests.builders import UTC_MICROS, Workshop, at, make_view, payments_source
from tests.window_oracle import Event, Window, event_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

# Where runs begin and end, over three days.
RUNS = ["2024-01-02", "2024-01-03", "2024-01-05"]
HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
START, END = to_micros(at(RUNS[0])), to_micros(at(RUNS[-1]))
REACH = timedelta(hours=30)
WINDOWS = {"amount_sum_30h": Window("sum", 30 * HOUR_US), "payments": Window("rows", 30 * HOUR_US)}

# Customer, and times in hours since the first day: of the payment, and of its report.
Payment = tuple[str, int, int, float]


@st.composite
def payments(draw: st.DrawFn) -> list[Payment]:
    """Payments of some customers on a coarse clock, a few of the day before; many are reported late."""
    times = st.tuples(st.sampled_from(["a", "b", "c", "d", "e", "f"]), st.integers(-6, 17).map(lambda n: 4 * n))
    found = draw(st.lists(times, min_size=8, max_size=40, unique=True))
    lateness = draw(st.lists(st.sampled_from([0, 0, 0, 3, 25, 40]), min_size=len(found), max_size=len(found)))
    return [
        (key, event, event + late, float(draw(st.integers(1, 99))))
        for (key, event), late in zip(found, lateness, strict=True)
    ]


@st.composite
def corrected(draw: st.DrawFn, known: Sequence[Payment]) -> list[Payment]:
    """The same payments, some of them of another amount or gone, and some that were not told before."""
    fates = draw(st.lists(st.sampled_from("kkkcg"), min_size=len(known), max_size=len(known)))
    kept = [
        (key, event, seen, amount + 100 if fate == "c" else amount)
        for (key, event, seen, amount), fate in zip(known, fates, strict=True)
        if fate != "g"
    ]
    taken = {(key, event) for key, event, _, _ in known}
    return kept + [payment for payment in draw(payments())[:5] if payment[:2] not in taken]


def write(folder: Path, rows: Sequence[Payment]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "customer": pa.array([row[0] for row in rows], pa.string()),
            "paid_at": pa.array([START + row[1] * HOUR_US for row in rows], UTC_MICROS),
            "seen_at": pa.array([START + row[2] * HOUR_US for row in rows], UTC_MICROS),
            "amount": pa.array([row[3] for row in rows], pa.float64()),
        }
    )
    pq.write_table(table, folder / "payments.parquet")


def as_reported(payments: Any) -> Any:
    """Every payment, as of when it was reported."""
    return payments.select("customer", F.col("paid_at").alias("event_timestamp"), "available_timestamp", "amount")


def base_view(folder: Path) -> FeatureView:
    """A view of the payments."""
    source = payments_source(folder, created_timestamp_field="seen_at")
    return make_view(name="base", sources=[source], transform=as_reported)


def top_view(name: str) -> FeatureView:
    """Windows over that view."""
    return make_view(
        name=name,
        sources=[ViewSource(name="payments", view="base")],
        transform=None,
        features=(),
        aggregations=[
            Aggregation(function="sum", column="amount", dtype=DType.FLOAT64, windows=[REACH]),
            Aggregation(function="count", windows=[REACH], name="payments"),
        ],
    )


def expected(rows: Sequence[Payment]) -> dict[Any, dict[str, Any]]:
    """The current rows of the view over the view, by key, event and interval."""
    events = []
    for key, event, seen, amount in rows:
        paid, available = START + event * HOUR_US, START + seen * HOUR_US
        if START <= available < END:
            end = available - available % DAY_US + DAY_US
            events.append(Event(key, paid, end - 1, amount))
    return {(key, event, last + 1): row for (key, event, last), row in event_rows(events, WINDOWS).items()}


def current(log: Sequence[tuple[Any, ...]]) -> dict[Any, dict[str, Any]]:
    """Of each key, event and interval the row that counts, by the log's rule."""
    winners: dict[Any, tuple[Any, ...]] = {}
    for row in sorted(log, key=lambda row: (row[2], row[4])):
        winners[row[0], to_micros(at(row[1])), to_micros(at(row[5]))] = row
    return {place: dict(zip(WINDOWS, row[6:], strict=True)) for place, row in winners.items() if row[3] == "put"}


def without_position(log: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted((*row[:4], *row[5:]) for row in log)


@given(data=st.data())
@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_a_view_over_a_view_is_what_its_rules_say(
    spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("chain")
    workshop = Workshop(spark, folder)
    before = data.draw(payments())
    after = data.draw(corrected(before))
    write(folder / "payments", before)
    base, apart, together = base_view(folder / "payments"), top_view("apart"), top_view("together")
    for view in (base, apart, together):
        workshop.apply(view)

    for start, end in pairwise(RUNS):
        for view in (base, apart):
            workshop.build(view, start, end)
    workshop.build(together, RUNS[0], RUNS[-1])

    first = workshop.rows(apart)
    assert without_position(first) == without_position(workshop.rows(together))
    assert current(first) == expected(before)

    write(folder / "payments", after)
    for view, every in ((base, True), (apart, False)):
        applied = workshop.registry.view(view.name)
        backfill(workshop.builder, view, applied, at(RUNS[0]), at(RUNS[-1]), every=every)

    log = workshop.rows(apart)
    assert current(log) == expected(after)
    assert [row for row in log if at(row[2]) < datetime(2025, 1, 1, tzinfo=UTC)] == first
    assert not [e for e in workshop.registry.ledger(workshop.registry.view("apart")) if e.stale]
    workshop.registry.close()
