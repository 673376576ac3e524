"""What a task that waits asks the registry about a view that another one reads."""

from datetime import timedelta
from pathlib import Path

from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.orchestration.published_views import PublishedViews
from features.orchestration.upstream_events import Published
from features.registry import Registry
from tests.builders import at, make_view

DAY = Interval(at("2024-01-01"), at("2024-01-01") + timedelta(days=1))


def told(position: int | None, version: int | None) -> Published:
    return Published(interval=DAY, delta_version=version, position=position)


def test_events_of_commits_that_a_restored_log_lacks_tell_nothing(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/base.yaml").write_text("registry: sqlite:///registry.db\n")
    (tmp_path / "conf/local.yaml").write_text("")
    with Registry.open(f"sqlite:///{tmp_path}/registry.db") as registry:
        registry.apply(Definitions(views={"last_payment": make_view()}, services={}))
        view = registry.view("last_payment")
        # The second is what a restore writes: its position is that of no earlier log.
        for position, version in [(1, 0), (1_700_000_000, 1)]:
            registry.record_commit(
                view, position=position, delta_version=version, committed_at=at("2024-01-02"), run_id=f"r{position}"
            )
    views = PublishedViews(str(tmp_path / "conf"), "local")
    known, empty = told(1, 0), told(None, None)
    # A version that was written again since, one of a rerun that appended nothing, and one yet to come.
    lost = [told(2, 1), told(1, 2), told(3, 2)]
    assert views.held("last_payment@1", [known, *lost, empty]) == [known, empty]
    assert views.held("last_payment@1", []) == []
