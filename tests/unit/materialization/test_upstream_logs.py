"""At which commit of a log a view is read, and what later commits make stale: logs on disk, and no Spark."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from features import FeatureView, ViewSource
from features.core.applied import AppliedView
from features.core.discovery import Definitions
from features.core.profile import Profile
from features.core.schedule import Interval
from features.errors import UpstreamError, UsageError
from features.materialization.ledger import Told, reconcile, record_commit, tell
from features.materialization.upstreams import open_upstreams
from features.registry import Registry
from features.stores.delta import FeatureLog
from tests.builders import at, make_view
from tests.logs import log_schema, put

DAY = timedelta(days=1)


class Shop:
    """A registry and a warehouse: a base view, and one that reads it with a day of history."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry.open(f"sqlite:///{folder / 'registry.db'}")
        self.warehouse = folder / "warehouse"
        reader = make_view(name="reader", sources=[ViewSource(name="given", view="last_payment", history=DAY)])
        self.base, self.reader = self._apply(make_view(), reader)

    def _apply(self, *views: FeatureView) -> tuple[AppliedView, ...]:
        self.registry.apply(Definitions(views={view.name: view for view in views}, services={}))
        return tuple(self.registry.view(view.name) for view in views)

    def log(self, view: AppliedView) -> FeatureLog:
        spark: Any = None
        return FeatureLog(spark, str(self.warehouse), view)

    def commit(self, view: AppliedView, *days: int, kill: bool = False, reads: dict[str, int] | None = None) -> str:
        """Append a row to each of some days, as a build of them does. kill: before the registry is told."""
        span = Interval(day(days[0]).start, day(days[-1]).end)
        run = self.registry.start_run(kind="build", view=view, start=span.start, end=span.end, now=span.end)
        log = self.log(view)
        before = log.snapshot()
        position = 1 if before is None else before.position + 1
        told = tell_of(view, days, reads or {})
        metadata = {"run_id": run, "position": position, "view": view.reference, "note": told.note()}
        rows = [put(day(n).start, day(n).end, seq=position, interval=day(n).end, customer="a") for n in days]
        properties = CommitProperties(
            custom_metadata={"userMetadata": json.dumps(metadata)},
            app_transactions=[Transaction(view.reference, position)],
        )
        table = pa.Table.from_pylist(rows, schema=log_schema(view))
        write_deltalake(log.path, table, mode="append", commit_properties=properties)
        if not kill:
            (commit,) = log.commits(after=position - 1)
            told.record(self.registry, log, view, run, position=position, version=commit.version)
            record_commit(self.registry, view, commit)
            self.registry.finish_run(
                run, status="built", position=position, delta_version=commit.version, committed_at=commit.committed_at
            )
        return run

    def open(self, *days: int, **versions: int) -> tuple[int, int | None]:
        """The position and Delta version at which a run of the reader over some days reads the base."""
        run = self.registry.start_run(kind="build", view=self.reader, start=None, end=None, now=datetime.now(UTC))
        intervals = [day(n) for n in days]
        found = open_upstreams(self.log(self.reader), self.registry, self.reader, intervals, versions, run_id=run)
        (upstream,) = found.values()
        assert self.told(run) == {"last_payment@1": upstream.delta_version}
        return upstream.position, upstream.delta_version

    def told(self, run: str) -> Any:
        return next(r.upstreams for r in self.registry.runs(self.reader) if r.run_id == run)

    def stale(self) -> list[int]:
        """The days of the reader that are stale."""
        return [e.interval.start.day for e in self.registry.ledger(self.reader) if e.stale]


def day(number: int) -> Interval:
    start = at("2024-01-01") + (number - 1) * DAY
    return Interval(start, start + DAY)


def tell_of(view: AppliedView, days: tuple[int, ...], reads: dict[str, int], *, rows: int = 1) -> Told:
    intervals = [day(n) for n in days]
    ends = {interval.end for interval in intervals}
    appended = dict.fromkeys(ends, rows) if rows else {}
    profiles = dict.fromkeys(ends, Profile(rows=1))
    return tell(
        intervals, profiles=profiles, rows=appended, fingerprints={}, changed=[], late=[], reads=reads, view=view
    )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.registry.close()


def test_the_newest_commit_is_read_or_the_one_that_is_told(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.commit(shop.base, number)

    assert shop.open(1, 2, 3) == (3, 2)
    assert shop.open(1, 2, last_payment=1) == (2, 1)
    assert shop.open(1, **{"last_payment@1": 0}) == (1, 0)
    for versions, error, why in (
        ({"last_payment": 1}, UpstreamError, r"\(built later\) of last_payment@1 at Delta version 1; read a later"),
        ({"last_payment": 3}, UpstreamError, "at Delta version 3, but its log is at 2; look at `features status"),
        ({"last_payment@2": 1}, UsageError, "to read 'last_payment@2' at Delta version 1, but it reads last_payment@1"),
    ):
        with pytest.raises(error, match=why):
            shop.open(2, 3, **versions)


def test_a_view_of_which_nothing_was_ever_committed_is_empty_once_it_is_built(shop: Shop) -> None:
    with pytest.raises(UpstreamError, match="never built"):
        shop.open(1)
    told = tell_of(shop.base, (1,), {}, rows=0)
    told.record(shop.registry, shop.log(shop.base), shop.base, "run", position=None, version=None)

    assert shop.open(1) == (0, None)
    with pytest.raises(UpstreamError, match="its log has no commit yet"):
        shop.open(1, last_payment=0)


def test_a_commit_that_was_killed_before_it_was_told_is_found_by_whoever_reads(shop: Shop) -> None:
    shop.commit(shop.base, 1, 2)
    shop.commit(shop.reader, 1, 2, reads={"last_payment@1": 1})
    shop.commit(shop.base, 2, 3, kill=True)
    assert shop.stale() == []

    assert shop.open(1, 2, 3) == (2, 1)
    assert shop.stale() == [2]
    assert shop.open(3, last_payment=1) == (2, 1)


def test_intervals_that_were_built_from_an_older_commit_are_stale_where_a_later_one_has_brought_rows(
    shop: Shop,
) -> None:
    shop.commit(shop.base, 1, 2, 3, 4, 5)
    shop.commit(shop.base, 2)
    shop.commit(shop.base, 5)

    shop.commit(shop.reader, 1, 2, 3, 4, reads={"last_payment@1": 1})
    assert shop.stale() == [2, 3]
    shop.commit(shop.reader, 2, 3, reads={"last_payment@1": 3})
    assert shop.stale() == []


def test_a_killed_run_that_read_an_older_commit_is_stale_too_once_it_is_told(shop: Shop) -> None:
    shop.commit(shop.base, 1)
    shop.commit(shop.base, 1)
    shop.commit(shop.reader, 1, reads={"last_payment@1": 1}, kill=True)

    reconcile(shop.registry, shop.log(shop.reader), shop.reader)

    assert shop.stale() == [1]


def test_what_delta_has_forgotten_is_taken_for_rows_of_all_intervals(shop: Shop) -> None:
    for days in ((1, 2, 3), (2,), (2,)):
        shop.commit(shop.base, *days)
    path = Path(shop.log(shop.base).path)
    DeltaTable(str(path)).create_checkpoint()
    for version in (0, 1):
        (path / "_delta_log" / f"{version:020}.json").unlink()

    shop.commit(shop.reader, 1, 2, 3, reads={"last_payment@1": 1})

    assert shop.stale() == [1, 2, 3]
