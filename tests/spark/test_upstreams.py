"""Builds of views that read views: which rows they get, at which version, and what becomes stale."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from features import Aggregation, DType, FeatureView, ViewSource
from features.errors import UpstreamError, UsageError
from features.functions import F
from tests.builders import Workshop, at, make_view, payments_source, write_payments

pytestmark = pytest.mark.spark

DAYS = [f"2024-01-{day:02d}" for day in range(1, 10)]
DAY1, DAY2, DAY3, DAY4, DAY5 = DAYS[:5]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FEBRUARY = at("2024-02-01")


def doubled(given: Any) -> Any:
    """Twice the amount of each row."""
    return given.withColumn("amount", F.col("amount") * 2)


def reader(name: str = "reader", *, view: str = "last_payment", history: timedelta = timedelta(0), **changes: Any):
    source = ViewSource(name="given", view=view, history=history)
    return make_view(**{"name": name, "sources": [source], "transform": doubled, "delay": HOUR, **changes})


@pytest.fixture
def base(workshop: Workshop, tmp_path: Path) -> FeatureView:
    """A view of payments, one a day, not built yet."""
    write_payments(tmp_path / "payments", payments())
    view = make_view(sources=[payments_source(tmp_path / "payments")])
    workshop.apply(view)
    return view


def payments(**changed: float | None) -> list[tuple[str, str, float]]:
    """A payment of customer a each day at 10, as much as the day's number; `d3=None` leaves one out."""
    amounts = {f"d{number}": float(number) for number in range(1, 8)} | changed
    return [("a", f"{DAYS[int(name[1:]) - 1]} 10:00", amount) for name, amount in amounts.items() if amount is not None]


def values(workshop: Workshop, view: FeatureView) -> list[tuple[str, str, float]]:
    """Event day, interval day, and value of each put, by position."""
    rows = sorted(workshop.rows(view), key=lambda row: (row[4], row[1]))
    return [(row[1][:10], row[5][:10], row[6]) for row in rows if row[3] == "put"]


def stale(workshop: Workshop, view: FeatureView) -> list[str]:
    entries = workshop.registry.ledger(workshop.registry.view(view.name))
    return [entry.interval.start.date().isoformat() for entry in entries if entry.stale]


def test_current_rows_are_read_at_the_newest_version_or_the_one_that_is_told(
    workshop: Workshop, base: FeatureView, tmp_path: Path
) -> None:
    newest, older = reader(), reader("older")
    for view in (newest, older):
        workshop.apply(view)
    workshop.build(base, DAY1, DAY4)
    write_payments(tmp_path / "payments", payments(d1=10.0, d2=None))
    workshop.build(base, DAY1, DAY3, now=FEBRUARY)

    assert workshop.build(newest, DAY1, DAY4).rows == 2
    assert workshop.build(older, DAY1, DAY4, upstream_versions={"last_payment": 0}).rows == 3

    assert values(workshop, newest) == [(DAY1, DAY2, 20.0), (DAY3, DAY4, 6.0)]
    assert values(workshop, older) == [(DAY1, DAY2, 2.0), (DAY2, DAY3, 4.0), (DAY3, DAY4, 6.0)]
    # What it was told to leave out is known to be missing.
    assert (stale(workshop, newest), stale(workshop, older)) == ([], [DAY1, DAY2])
    read = [workshop.registry.runs(workshop.registry.view(v.name), limit=1)[0].upstreams for v in (newest, older)]
    assert read == [{"last_payment@1": 1}, {"last_payment@1": 0}]
    again = workshop.build(older, DAY1, DAY3, now=FEBRUARY)
    assert (again.rows, again.corrections, again.retractions, stale(workshop, older)) == (2, 1, 1, [])


def test_what_is_missing_is_refused_and_nothing_is_written(workshop: Workshop, base: FeatureView) -> None:
    view = reader()
    applied = workshop.apply(view)
    workshop.build(base, DAY1, DAY2)
    workshop.build(base, DAY2, DAY3)

    for end, versions, why in (
        (DAY4, {}, r"needs \[2024-01-03.*\(never built\) of last_payment@1; run `features backfill last_payment"),
        (DAY4, {"last_payment": 0}, r"needs \[2024-01-02.*\(built later\), .* at Delta version 0; run `features backf"),
        (DAY3, {"last_payment@1": 9}, r"to read last_payment@1 at Delta version 9, but its log is at 1"),
    ):
        with pytest.raises(UpstreamError, match=why):
            workshop.build(view, DAY1, end, upstream_versions=versions)
    with pytest.raises(UsageError, match="to read 'other' at Delta version 1, but it reads last_payment@1"):
        workshop.build(view, DAY1, DAY2, upstream_versions={"other": 1})

    assert workshop.log(view).snapshot() is None
    assert {entry.status for entry in workshop.registry.ledger(applied)} == {"failed"}


def test_only_the_files_of_the_intervals_are_read(workshop: Workshop, base: FeatureView) -> None:
    view = reader(history=DAY)
    workshop.apply(view)
    for start, end in pairwise(DAYS[:5]):
        workshop.build(base, start, end)
    files = {_day_in(file): file for file in Path(workshop.log(base).path).glob("*.parquet")}
    for day in (DAY1, DAY4):
        files[day].unlink()

    assert workshop.build(view, DAY3, DAY4).rows == 1


def _day_in(file: Path) -> str:
    import pyarrow.parquet as pq

    (event,) = pq.read_table(file, columns=["event_timestamp"]).column(0).to_pylist()
    return event.date().isoformat()


def test_rows_belong_to_the_interval_in_which_theirs_ends(workshop: Workshop, base: FeatureView) -> None:
    hourly, monthly = reader("hourly", schedule="@hourly"), reader("monthly", schedule="0 0 8 * *")
    for view in (hourly, monthly):
        workshop.apply(view)
    workshop.build(base, "2023-12-08", DAYS[7])

    workshop.build(hourly, DAY1, DAY3)
    workshop.build(monthly, "2023-12-08", DAYS[7], upstream_versions={"last_payment": 0})

    assert [row[5] for row in workshop.rows(hourly)] == [f"{DAY2}T00:00:00", f"{DAY3}T00:00:00"]
    assert values(workshop, monthly) == [(DAYS[n], DAYS[7], 2.0 * (n + 1)) for n in range(7)]


def test_windows_over_a_view_end_at_its_events_or_at_ticks(workshop: Workshop, base: FeatureView) -> None:
    window = {
        "transform": None,
        "features": (),
        "aggregations": [Aggregation(function="sum", column="amount", dtype=DType.FLOAT64, windows=[2 * DAY])],
    }
    events, ticks = reader("events", **window), reader("ticks", **window, values_at="tick")
    for view in (events, ticks):
        workshop.apply(view)
    workshop.build(base, DAY1, DAYS[6])

    workshop.build(events, DAY1, DAY3)
    workshop.build(events, DAY3, DAYS[6])
    workshop.build(ticks, DAY1, DAYS[6])

    assert values(workshop, events) == [
        (DAYS[n], DAYS[n + 1], s) for n, s in enumerate([1.0, 3.0, 5.0, 7.0, 9.0, 11.0])
    ]
    assert values(workshop, ticks) == [
        (DAYS[n + 1], DAYS[n + 1], s) for n, s in enumerate([1.0, 3.0, 5.0, 7.0, 9.0, 11.0])
    ]


def forget(workshop: Workshop, view: FeatureView) -> None:
    """Leave the registry as a kill does that comes right behind the last commit in Delta: it was told nothing of it."""
    engine = create_engine(workshop.registry_url)
    with engine.begin() as connection:
        last = "SELECT max(log_position) FROM commits WHERE view = :view"
        connection.execute(
            text(f"DELETE FROM commits WHERE view = :view AND log_position = ({last})"), {"view": view.name}
        )
        connection.execute(text("UPDATE ledger SET stale = 0"))
    engine.dispose()


def test_a_correction_makes_readers_stale_also_after_a_kill_and_their_reruns_make_theirs(
    workshop: Workshop, base: FeatureView, tmp_path: Path
) -> None:
    middle, top = reader("middle", history=DAY), reader("top", view="middle")
    for view in (middle, top):
        workshop.apply(view)
    for view in (base, middle, top):
        workshop.build(view, DAY1, DAYS[6])
    write_payments(tmp_path / "payments", payments(d3=30.0))
    workshop.build(base, DAY3, DAY4, now=FEBRUARY)
    assert (stale(workshop, middle), stale(workshop, top)) == ([DAY3, DAY4], [])

    forget(workshop, base)
    assert stale(workshop, middle) == []
    # Any build that reads it tells what was left untold.
    workshop.build(middle, DAY4, DAY5, now=FEBRUARY)
    assert stale(workshop, middle) == [DAY3]
    workshop.build(middle, DAY3, DAY4, now=FEBRUARY)
    assert (stale(workshop, middle), stale(workshop, top)) == ([DAY4], [DAY3])
