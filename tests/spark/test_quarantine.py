"""Withheld rows: kept, listed, released into the log, dropped; and builds that come before, after and in between."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from sqlalchemy import create_engine, text

from features import DType, Entity, Expect, Feature, FeatureView
from features.core.arrow_types import to_arrow
from features.errors import RefusedError, UsageError
from features.materialization.quarantine_verbs import Quarantines, QuarantineVerbs
from features.quality import GateRefusedError
from features.registry import LedgerEntry
from features.stores.delta import FeatureLog
from features.stores.log_state import AVAILABLE, CREATED, EVENT, INTERVAL
from features.stores.memory import MemoryStore
from features.stores.quarantine import Quarantine
from features.stores.quarantine_reading import REASONS, Chosen
from tests.builders import Workshop, apply_view, at, make_view, passes_on, payments_source, write_payments
from tests.projects import PACKAGE, Project, open_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAY1, DAY2, DAY3, DAY4 = "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"
FEBRUARY, MARCH, APRIL = at("2024-02-01"), at("2024-03-01"), at("2024-04-01")
RULE = Expect.between(0, 3, severity="quarantine")
BROKEN = "amount: between(0, 3)"
_ROOT = Path(__file__).parents[2]


@dataclass
class Desk(QuarantineVerbs):
    """A workshop with one view over a source that can be rewritten, and the verbs of its quarantine."""

    workshop: Workshop
    source: Path
    view: FeatureView

    @property
    def _quarantines(self) -> Quarantines:
        shop = self.workshop
        return Quarantines(registry=shop.registry, warehouse=shop.warehouse, session=lambda: shop.spark)

    def land(self, **amounts: float | None) -> None:
        """The source: one payment for each `customer_day=amount`, at ten."""
        rows = [(name[0], f"2024-01-0{name[-1]} 10:00", amount) for name, amount in amounts.items()]
        write_payments(self.source, rows)

    def build(self, start: str, end: str, **times: Any) -> tuple[str, int, int, int]:
        """Build; status, rows, retractions, quarantined."""
        result = self.workshop.build(self.view, start, end, **times)
        return result.status, result.rows, result.retractions, result.quarantined

    def release(self, start: str, end: str, **options: Any) -> tuple[str, int, int]:
        """Release; status, marked, rows."""
        result = self.release_quarantined(self.view.name, at(start), at(end), **{"now": FEBRUARY, **options})
        return result.status, result.marked, result.rows

    def held(self) -> list[tuple[str, float, bool]]:
        """Customer, amount and whether it is released, of all rows of the quarantine."""
        rows = self.quarantined_rows(self.view.name).to_pylist()
        return [(row["customer"], row["amount"], row["_released_at"] is not None) for row in rows]

    def appended(self, position: int) -> list[tuple[Any, ...]]:
        """Customer, event, created, operation, interval and amount of the rows of a commit; times without the year."""
        return [
            tuple(str(v).removeprefix("2024-") if isinstance(v, str) else v for v in (*row[:4], *row[5:]))
            for row in self.workshop.rows(self.view)
            if row[4] == position
        ]

    def ledger(self) -> tuple[LedgerEntry, ...]:
        return self.workshop.registry.ledger(self.workshop.registry.view(self.view.name))


@pytest.fixture
def desk(workshop: Workshop, tmp_path: Path) -> Desk:
    return make_desk(workshop, tmp_path)


def make_desk(workshop: Workshop, folder: Path, **changes: Any) -> Desk:
    source = payments_source(folder / "payments", history=timedelta(days=1))
    view = make_view(sources=[source], features=[Feature("amount", DType.FLOAT64, expect=[RULE])], **changes)
    workshop.apply(view)
    return Desk(workshop, folder / "payments", view)


def before(owner: type, name: str, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Have something happen once, right before the next call of a method."""
    original = getattr(owner, name)

    def interposed(self: Any, *args: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, original)
        action()
        return original(self, *args, **options)

    monkeypatch.setattr(owner, name, interposed)


def interrupt() -> None:
    """As Ctrl-C does."""
    raise KeyboardInterrupt


def test_released_rows_are_corrections_and_reruns_leave_them_as_long_as_they_stay_the_same(desk: Desk) -> None:
    desk.land(a1=1.0, b1=5.0, c1=7.0, a2=1.0, b2=9.0, a3=1.0)
    assert desk.build(DAY1, DAY4) == ("built", 3, 0, 3)
    as_an_earlier_release_left_it(desk)
    assert desk.build(DAY1, DAY2) == ("unchanged", 0, 0, 2)

    # One key of one day, then what is left of two.
    assert desk.release(DAY1, DAY2, keys=[{"customer": "b"}]) == ("released", 1, 1)
    assert desk.appended(2) == [("b", "01-01T10:00:00", "02-01T00:30:00", "put", "01-02T00:00:00", 5.0)]
    assert [(e.status, e.rows, e.position, e.stale) for e in desk.ledger()] == [
        ("built", 1, 2, False),
        ("built", 1, 1, True),
        ("built", 1, 1, False),
    ]
    assert desk.release(DAY1, DAY3) == ("released", 2, 2)
    assert [e.stale for e in desk.ledger()] == [False, True, True]
    assert desk.held() == [("b", 5.0, True), ("c", 7.0, True), ("b", 9.0, True)]
    first, second = desk.quarantined("last_payment")
    assert (first.start, first.end, first.withheld, first.released) == (at(DAY1), at(DAY2), 0, 2)
    assert (first.reasons, second.reasons, first.released_at) == ({BROKEN: 2}, {BROKEN: 1}, FEBRUARY)
    assert desk.release(DAY1, DAY3) == ("unchanged", 0, 0)
    assert [entry.detail["rows"] for entry in desk.workshop.registry.audit()[:2]] == [2, 1]

    # The same values again are as accepted as before.
    assert desk.build(DAY1, DAY2) == ("unchanged", 0, 0, 0)
    # Others are withheld anew, and what is public of them is taken back; what the rule admits now is a correction.
    desk.land(a1=1.0, b1=6.0, c1=2.0, a2=1.0, b2=9.0, a3=1.0)
    assert desk.build(DAY1, DAY2, now=FEBRUARY) == ("built", 2, 1, 1)
    microsecond_later = "02-01T00:30:00.000001"
    assert desk.appended(4) == [
        ("b", "01-01T10:00:00", microsecond_later, "retract", "01-02T00:00:00", None),
        ("c", "01-01T10:00:00", microsecond_later, "put", "01-02T00:00:00", 2.0),
    ]
    assert desk.held() == [("b", 6.0, False), ("b", 9.0, True)]


def as_an_earlier_release_left_it(desk: Desk) -> None:
    """Without the columns that say what was released."""
    path = f"{desk.workshop.warehouse}/last_payment/quarantine_v1"
    frame = desk.workshop.spark.read.format("delta").load(path).drop("_released_at", "_released_by")
    frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(path)


def test_a_day_of_nothing_but_withheld_rows_is_released_into_a_log_that_was_not_there(desk: Desk) -> None:
    desk.land(b1=5.0, b2=2.0)
    assert desk.build(DAY1, DAY2) == ("unchanged", 0, 0, 1)
    assert desk.workshop.load(desk.view).delta_version is None
    assert desk.release(DAY1, DAY2) == ("released", 1, 1)
    assert desk.appended(1) == [("b", "01-01T10:00:00", "02-01T00:30:00", "put", "01-02T00:00:00", 5.0)]
    assert desk.workshop.load(desk.view).rows == 1
    assert desk.workshop.served(desk.view, ("b",)) == [(5.0,)]
    assert desk.build(DAY1, DAY3) == ("built", 1, 0, 0)


def test_a_release_killed_before_the_log_is_finished_by_the_next_build_and_after_it_by_the_next_release(
    desk: Desk,
) -> None:
    desk.land(a1=1.0, b1=5.0, c1=7.0, a2=1.0)
    desk.build(DAY1, DAY3)
    shop = desk.workshop
    told = json.dumps([shop.registry_url, shop.warehouse, DAY1, DAY2])
    command = [sys.executable, "-m", "tests.killed_releases", told]
    killed = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert (desk.held(), desk.appended(2)) == ([("b", 5.0, True), ("c", 7.0, False)], [])

    assert desk.build(DAY1, DAY2, now=MARCH) == ("built", 1, 0, 1)
    assert desk.appended(2) == [("b", "01-01T10:00:00", "03-01T00:30:00", "put", "01-02T00:00:00", 5.0)]
    assert desk.release(DAY1, DAY2) == ("released", 1, 1)

    # Killed right behind its commit: the registry was told nothing of it.
    engine = create_engine(shop.registry_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM commits WHERE log_position = 3"))
        connection.execute(text("UPDATE ledger SET stale = 0, log_position = 1"))
    engine.dispose()
    assert desk.release(DAY1, DAY2) == ("unchanged", 0, 0)
    assert [(e.position, e.stale) for e in desk.ledger()] == [(3, False), (1, True)]


def test_a_build_that_meets_a_release_takes_nothing_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.land(a1=1.0, b1=5.0)
    desk.build(DAY1, DAY2)
    desk.land(a1=2.0, b1=5.0)
    # The build has compared, with a mark that is not there yet.
    before(FeatureLog, "append", monkeypatch, lambda: desk.release(DAY1, DAY2))
    assert desk.build(DAY1, DAY2, now=MARCH) == ("built", 1, 0, 0)
    assert [(row[0], row[-1]) for row in (*desk.appended(2), *desk.appended(3))] == [("b", 5.0), ("a", 2.0)]
    assert desk.held() == [("b", 5.0, True)]


def test_a_release_and_a_build_of_other_values_at_once_end_as_one_after_the_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.land(a1=1.0, b1=5.0)
    desk.build(DAY1, DAY2)
    desk.land(a1=1.0, b1=6.0)
    # The release has read the rows that it publishes; the build has nothing to publish.
    before(FeatureLog, "append", monkeypatch, lambda: desk.build(DAY1, DAY2))
    result = desk.release_quarantined("last_payment", at(DAY1), at(DAY2), now=FEBRUARY)
    assert (result.rows, result.overtaken, desk.held()) == (1, (at(DAY2),), [("b", 6.0, False)])
    assert [e.stale for e in desk.ledger()] == [True]
    assert desk.build(DAY1, DAY2, now=MARCH) == ("built", 1, 1, 1)
    assert [e.stale for e in desk.ledger()] == [False]

    desk.land(a1=1.0, b1=7.0)
    # Now the build has compared, and finds nothing to publish, when the release comes.
    before(Quarantine, "replace", monkeypatch, lambda: desk.release(DAY1, DAY2))
    assert desk.build(DAY1, DAY2, now=APRIL) == ("built", 1, 1, 1)
    assert [(row[3], row[-1]) for row in (*desk.appended(4), *desk.appended(5))] == [("put", 6.0), ("retract", None)]
    assert desk.held() == [("b", 7.0, False)]


def test_more_withheld_than_the_limit_refuses_the_interval_and_a_killed_build_has_nothing_to_release(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(workshop, tmp_path, quarantine_limit=0.4)
    desk.land(a1=1.0, b1=5.0, c1=2.0, a2=1.0, b2=9.0)
    with pytest.raises(GateRefusedError) as refused:
        desk.build(DAY1, DAY3)
    assert "quarantine_limit of 0.4" in str(refused.value)
    assert "1 of 2 rows (50.0%) in the interval that ends at 2024-01-03T00:00:00+00:00\n" in str(refused.value)
    assert (desk.workshop.rows(desk.view), desk.held()) == ([], [])
    assert {e.status for e in desk.ledger()} == {"refused"}

    # Killed between quarantine and log: what was withheld is a part of nothing yet.
    before(FeatureLog, "append", monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        desk.build(DAY1, DAY2)
    assert desk.held() == [("b", 5.0, False)]
    with pytest.raises(
        RefusedError, match=r"in the intervals that end at 2024-01-02T00:00:00\+00:00 was not completed"
    ):
        desk.release(DAY1, DAY2)
    assert desk.build(DAY1, DAY2, now=MARCH) == ("built", 2, 0, 1)
    assert {row[2] for row in desk.appended(1)} == {"01-02T00:30:00"}


def test_an_imported_log_releases_nothing(workshop: Workshop, tmp_path: Path) -> None:
    source = payments_source(tmp_path / "payments", created_timestamp_field="seen_at")
    view = make_view(sources=[source], transform=passes_on, available="source")
    workshop.apply(view)
    with pytest.raises(RefusedError, match="import them under a later created time"):
        Desk(workshop, tmp_path, view).release(DAY1, DAY2)


def test_keys_of_every_type_choose_their_rows_with_spark_and_without(workshop: Workshop) -> None:
    keys = {"n": DType.INT64, "ok": DType.BOOL, "day": DType.DATE, "at": DType.TIMESTAMP, "raw": DType.BYTES,
            "price": DType.DECIMAL(9, 2)}  # fmt: skip
    view = apply_view(make_view(entities=[Entity(name="deal", join_keys=keys)]))
    # Before 1582 calendars differ; a microsecond is lost in a float.
    deal = {"n": -(2**62) - 1, "ok": False, "day": date(1500, 2, 28), "at": at("2024-07-01T02:00:00.000001"),
            "raw": b"\x00\xff", "price": Decimal("-1.10")}  # fmt: skip
    other = {"n": 1, "ok": True, "day": date(1500, 3, 1), "at": at("2024-07-01T02:00"), "raw": b"", "price": Decimal(0)}
    columns = {name: to_arrow([deal[name], other[name]], dtype) for name, dtype in keys.items()}
    times = {name: to_arrow([at(DAY2)] * 2, DType.TIMESTAMP) for name in (EVENT, CREATED, AVAILABLE, INTERVAL)}
    rows = pa.table({**columns, **times, REASONS: [[BROKEN]] * 2, "amount": [1.0, 2.0]})
    quarantine = Quarantine(workshop.spark, workshop.warehouse, view)
    withheld = quarantine.compare([at(DAY2)], workshop.spark.createDataFrame(rows))
    quarantine.replace([at(DAY2)], withheld, run_id="run")

    for name, value in deal.items():
        assert quarantine.table.read(Chosen(keys=[{name: value}]), ["amount"])["amount"].to_pylist() == [1.0], name
    quarantine.mark(Chosen(keys=[deal]), at=FEBRUARY, by="ann")
    marks = quarantine.table.read(Chosen(), ["amount", "_released_by"]).to_pylist()
    assert sorted(list(row.values()) for row in marks) == [[1.0, "ann"], [2.0, None]]
    with pytest.raises(UsageError, match=r"n='1' is not of type int64"):
        Chosen(keys=[{"n": "1"}]).check(view)


@pytest.fixture
def project(
    spark: "SparkSession", in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Project]:
    """A project whose views withhold amounts past 3; every store that its commands open is one in memory."""
    store = MemoryStore()
    monkeypatch.setattr("features.stores.opening.open_online_store", lambda settings, **_: store)
    for project in open_project(in_tmp, monkeypatch, capsys):
        module = project.folder / PACKAGE / "__init__.py"
        module.write_text(module.read_text().replace('(0, 1000, severity="refuse")', '(0, 3, severity="quarantine")'))
        assert project.run("apply").code == 0
        yield project


def test_by_command_from_the_gate_to_an_online_read(project: Project) -> None:
    days = ("--start", "2024-01-01T00:00:00Z", "--end", "2024-01-05T00:00:00Z")
    first = (*days[:3], "2024-01-02T00:00:00Z")
    assert project.run("build", "last_payment", *days).code == 0

    told = project.run("quality", "last_payment").out.splitlines()
    assert "1 of 4 rules fail" in told[0]
    assert told[3].split()[:7] == [
        "amount", "between(0,", "3)", "quarantine", "2024-01-02T00:00:00+00:00", "1", "2"
    ]  # fmt: skip
    listed = project.run("quarantine", "list", "--json").data["intervals"]
    assert [(entry["end"][:10], entry["withheld"]) for entry in listed] == [("2024-01-02", 1), ("2024-01-05", 1)]
    shown = project.run("quarantine", "show", "last_payment", "--key", "customer=b", "--limit", "1", "--json")
    assert [(row["amount"], row["_reasons"]) for row in shown.data["rows"]] == [(5.0, [BROKEN])]

    released = project.run("quarantine", "release", "last_payment", *first, "--key", "customer=b")
    assert released.code == 0, released.err
    assert released.out.splitlines() == [
        "last_payment@1: released 1 withheld rows; 1 published, 0 of them corrections, at Delta version 1",
        "  `features load last_payment@1` brings them online",
    ]
    assert project.run("load", "last_payment@1", "--json").data["rows"] == 2
    read = project.run("get", "--features", "model", "customer=b", "--json")
    assert read.data["rows"][0]["features"]["amount"]["value"] == 5.0

    drop = ("quarantine", "drop", "last_payment", *days)
    assert project.run(*drop).out == "last_payment: 1 withheld rows would go for good; with --yes they do\n"
    assert project.run(*drop, "--yes").out == "last_payment: 1 withheld rows removed\n"
    assert project.run(*drop, "--yes").out == "last_payment: nothing to remove\n"
    lines = project.run("quarantine", "list", "last_payment").out.splitlines()
    assert [line.split()[3:5] for line in lines[2:]] == [["0", "1"]]
    assert "nothing to publish" in project.run("quarantine", "release", "last_payment", *days).out
    again = project.run("build", "last_payment", *days, "--json").data
    assert (again["status"], again["quarantined"]) == ("unchanged", 1)
