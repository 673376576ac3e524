"""What a task that waits asks the registry about a view that another one reads."""

from datetime import timedelta
from pathlib import Path

from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.orchestration.published_views import PublishedViews
from features.orchestration.upstream_events import Published
from features.registry import IntervalOutcome, Registry
from tests.builders import at, make_view

DAYS = [Interval(at(f"2024-01-0{day}"), at(f"2024-01-0{day}") + timedelta(days=1)) for day in (1, 2, 3, 4)]


def test_what_is_built_is_told_with_its_version_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/base.yaml").write_text("registry: sqlite:///registry.db\n")
    (tmp_path / "conf/local.yaml").write_text("")
    with Registry.open(f"sqlite:///{tmp_path}/registry.db") as registry:
        registry.apply(Definitions(views={"last_payment": make_view()}, services={}))
        outcomes = [
            IntervalOutcome(interval=day, status=status, rows=1, position=number, delta_version=version)
            for number, (day, status, version) in enumerate(
                zip(DAYS, ("built", "empty", "refused", "built"), (0, None, None, 5), strict=True), start=1
            )
        ]
        registry.record_intervals(registry.view("last_payment"), "run", outcomes)
    views = PublishedViews(str(tmp_path / "conf"), "local")
    known = [Published(interval=day, delta_version=version) for day, version in ((DAYS[0], 0), (DAYS[1], None))]
    assert views.read("last_payment@1", since=None, until=DAYS[3].start) == known
    assert [p.delta_version for p in views.read("last_payment@1", since=DAYS[1].start, until=DAYS[3].end)] == [None, 5]
