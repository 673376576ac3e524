"""The order of runs: what the ledger says of the intervals that a run reads back into."""

from datetime import timedelta
from pathlib import Path

import pytest

from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.errors import RefusedError
from features.materialization.order import require_past
from features.registry import IntervalOutcome, Registry
from tests.builders import at, make_view, payments_source

DAYS = [Interval(at(f"2024-01-0{day}"), at(f"2024-01-0{day + 1}")) for day in range(1, 6)]


@pytest.mark.parametrize("status", ["refused", "failed"])
def test_run_must_not_follow_one_that_left_its_interval_unpublished(tmp_path: Path, status: str) -> None:
    view = make_view(sources=[payments_source(history=timedelta(days=2))])
    with Registry.open(f"sqlite:///{tmp_path}/registry.db") as registry:
        registry.apply(Definitions(views={view.name: view}, services={}))
        applied = registry.view(view.name)

        def judge(day: int, outcome: str) -> None:
            start, end = DAYS[day].start, DAYS[day].end
            run = registry.start_run(kind="build", view=applied, start=start, end=end, now=end)
            registry.record_intervals(applied, run, [IntervalOutcome(interval=DAYS[day], status=outcome)])

        require_past(registry, applied, DAYS[1].start)
        judge(0, "built")
        judge(1, status)
        require_past(registry, applied, DAYS[1].start)
        with pytest.raises(RefusedError, match=rf"into \[2024-01-02T.*\), whose last run was {status}: repair"):
            require_past(registry, applied, DAYS[2].start)
        with pytest.raises(RefusedError):
            require_past(registry, applied, DAYS[3].start)
        # Beyond its history.
        require_past(registry, applied, DAYS[4].start)
        judge(1, "empty")
        require_past(registry, applied, DAYS[2].start)
        # A rerun that is refused leaves what was published before.
        judge(1, status)
        require_past(registry, applied, DAYS[2].start)
