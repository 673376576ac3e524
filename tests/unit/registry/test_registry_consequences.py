"""What a plan tells beyond the change itself: what its backfill costs, and who notices."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features import FeatureService
from features.core.rollout_counts import ViewRead
from features.core.schedule import Interval
from features.registry import IntervalOutcome, Registry
from features.registry.costs import Pace, Sample, fit


def at(day, hour=0):
    return datetime(2024, 1, day, hour, tzinfo=UTC)


@pytest.fixture
def used(registry, define, make_view):
    """Days 1 to 4 of January built, two of them in one run, read by a service, a held set and a server."""
    services = [
        FeatureService(name="fraud", features=["last_payment:amount"]),
        FeatureService(name="old_fraud", features=["last_payment@1:amount"]),
    ]
    registry.apply(define(make_view(), *services))
    view = registry.view("last_payment")
    for start, end in ((1, 2), (2, 3), (3, 5)):
        run = registry.start_run(kind="build", view=view, start=at(start), end=at(end), now=at(end))
        days = [Interval(at(day), at(day + 1)) for day in range(start, end)]
        registry.record_intervals(view, run, [IntervalOutcome(interval=day, status="built", rows=50) for day in days])
        registry.finish_run(run, status="built", counts={"rows": 50 * len(days)})
    pinned = {"views": [{"view": "last_payment@1", "position": 3}]}
    registry.save_manifest("churn", pinned, hold=True)
    registry.save_manifest("churn", pinned, hold=False)
    registry.record_reads([ViewRead(view="last_payment", version=1, consumer="checkout", last_read_at=at(4, 12))])
    return registry, lambda **changes: define(make_view(**changes), *services)


def test_a_new_version_tells_who_notices(used):
    registry, definitions = used

    (change,) = registry.plan(definitions(delay=timedelta(hours=1))).changes

    assert change.consumers == (
        "services: fraud; training sets read version 2 of it from apply on",
        "services that pin a version stay on it: old_fraud (version 1)",
        "held training sets rebuild from last_payment@1, whose log stays: churn@1",
        "read online by: checkout (version 1, last at 2024-01-04T12:00:00+00:00)",
        "DAG last_payment builds version 2 from now on, and version 1 no more",
    )


def test_what_is_changed_in_place_concerns_nobody(used):
    registry, definitions = used

    (change,) = registry.plan(definitions(description="another")).changes

    assert (change.kind, change.consumers, change.backfill) == ("update in place", (), None)


def test_a_new_version_offers_a_backfill_with_its_cost(used):
    registry, definitions = used

    plan = registry.plan(definitions(delay=timedelta(hours=1)))

    offer = plan.changes[0].backfill
    assert (offer.start, offer.end, offer.intervals, offer.rows) == (at(1), at(5), 4, 200)
    assert offer.seconds >= 0
    assert offer.cost == "4 intervals, about 0 s and 200 rows by the runs of version 1"
    assert json.loads(json.dumps(plan.to_dict()))["changes"][0]["backfill"]["command"] == offer.command


@pytest.mark.parametrize(
    ("schedule", "start", "end", "intervals"),
    [("@hourly", at(1), at(5), 96), ("@weekly", datetime(2023, 12, 31, tzinfo=UTC), None, 0), (None, at(1), at(5), 1)],
)
def test_the_backfill_covers_whole_intervals_of_the_new_schedule(used, schedule, start, end, intervals):
    registry, definitions = used

    offer = registry.plan(definitions(schedule=schedule)).changes[0].backfill

    # No week ends by the end of what was built.
    assert (offer is None) == (end is None)
    if offer is not None:
        assert (offer.start, offer.end, offer.intervals) == (start, end, intervals)


def test_a_plan_reads_well_in_a_pull_request(used):
    registry, definitions = used
    plan = registry.plan(definitions(delay=timedelta(hours=1), owner="b_c@example.com"))

    lines = plan.to_markdown(against="prod").splitlines()

    assert lines[:5] == [
        "## Feature plan against `prod`: 1 new version",
        "",
        "| change | of | version | backfill |",
        "| --- | --- | --- | --- |",
        f"| new version | feature view `last_payment` | 2 | {plan.changes[0].backfill.cost} |",
    ]
    assert "- delay: 30 min -> 1 h" in lines
    assert lines[lines.index("Changed in place:") + 1].endswith("-> 'b\\_c@example.com'")
    assert lines[-3:] == [
        "```sh",
        "features backfill last_payment --start 2024-01-01T00:00:00+00:00 --end 2024-01-05T00:00:00+00:00",
        "```",
    ]
    assert "Nothing to do" in registry.plan(definitions()).to_markdown()


def test_a_plan_against_a_registry_that_is_only_read(used, registry_url, tmp_path: Path):
    registry, definitions = used
    planned = registry.plan(definitions(delay=timedelta(hours=1)))

    with Registry.open_read_only(registry_url, scratch=tmp_path) as read_only:
        assert read_only.plan(definitions(delay=timedelta(hours=1))) == planned


@pytest.mark.parametrize(
    ("samples", "pace"),
    [
        ([], None),
        ([(1, 3.0, 10)], (3.0, 0.0, 10)),
        # Runs of different numbers tell apart what a run costs and what intervals add; one slow run does not count.
        ([(1, 4.0, 10), (31, 34.0, 310), (10, 13.0, 100), (1, 60.0, 10)], (3.0, 1.0, 10)),
        # Where many took no longer than one, an interval adds no more than one of the many took.
        ([(14, 2.8, 28), (1, 20.0, 2), (1, 20.2, 2), (1, 24.2, 2)], (19.9, 0.2, 2)),
        ([(4, 8.0, 4)], (2.0, 1.5, 1)),
    ],
)
def test_the_pace_of_runs(samples, pace):
    found = fit([Sample(intervals=n, seconds=seconds, rows=rows) for n, seconds, rows in samples])

    told = None if found is None else (found.seconds_per_run, found.seconds_per_interval, found.rows_per_interval)
    assert told == (None if pace is None else pytest.approx(pace))


def test_a_backfill_of_many_intervals_is_estimated():
    pace = Pace(seconds_per_run=3.0, seconds_per_interval=0.5, rows_per_interval=10)

    assert pace.seconds(60, runs=2) == 36.0
