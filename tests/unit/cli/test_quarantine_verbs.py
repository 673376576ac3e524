"""What the gate withheld and said, by command: all that needs no Spark."""

from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from features.cli.quarantine import tell_release
from features.core.schedule import Interval
from features.materialization.results import ReleaseResult
from features.registry import IntervalOutcome, Registry
from tests.builders import UTC_MICROS, at
from tests.projects import Project

TOO_MUCH, MISSING = "amount: between(0, 1000)", "amount: not_null()"


@pytest.fixture
def applied(project: Project) -> Project:
    assert project.run("apply").code == 0
    return project


@pytest.fixture
def registry(applied: Project) -> Any:
    with Registry.open(f"sqlite:///{applied.folder / '.state' / 'registry.db'}") as opened:
        yield opened


@pytest.fixture
def withheld(applied: Project, registry: Registry) -> Project:
    """Three rows of two days, of which the ledger knows the first; one of them is released."""
    day = Interval(at("2024-01-01"), at("2024-01-02"))
    registry.record_intervals(registry.view("last_payment"), "r", [IntervalOutcome(interval=day, status="built")])
    rows = [
        ("b", "2024-01-01 10:00", "2024-01-02", "run-two", None, [TOO_MUCH], 5000.0),
        ("a", "2024-01-01 10:00", "2024-01-02", "run-one", "2024-02-01 09:00", [TOO_MUCH, MISSING], None),
        ("a", "2024-01-02 10:00", "2024-01-03", "run-two", None, [TOO_MUCH], float("nan")),
    ]
    names = ("customer", "event_timestamp", "_interval", "_run_id", "_released_at", "_reasons", "amount")
    times = ("event_timestamp", "_interval", "_released_at")
    columns = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        if name in times:
            columns[name] = pa.array([None if value is None else at(value) for value in values], UTC_MICROS)
        else:
            columns[name] = pa.array(values)
    write_deltalake(str(applied.folder / ".state" / "warehouse" / "last_payment" / "quarantine_v1"), pa.table(columns))
    return applied


def test_listed_are_intervals_with_rules_runs_and_releases(withheld: Project) -> None:
    lines = withheld.run("quarantine", "list").out.splitlines()
    first, second = withheld.run("quarantine", "list", "last_payment", "--json").data["intervals"]
    later = withheld.run("quarantine", "list", "--start", "2024-01-02T00:00:00Z", "--json").data["intervals"]

    assert lines[0].split() == ["view", "interval", "withheld", "released", "rules", "that", "failed", "run"]
    assert lines[2].endswith(f"1         1         {TOO_MUCH} (2), {MISSING} (1)  run-one, run-two")
    assert "[not completed, 2024-01-03T00:00:00+00:00)" in lines[3]
    assert (first["start"], first["withheld"], first["released"]) == ("2024-01-01T00:00:00+00:00", 1, 1)
    assert (first["reasons"], first["released_at"]) == ({TOO_MUCH: 2, MISSING: 1}, "2024-02-01T09:00:00+00:00")
    assert later == [second]


def test_shown_are_rows_by_interval_event_and_key(withheld: Project) -> None:
    every = withheld.run("quarantine", "show", "last_payment", "--json").data["rows"]
    one = withheld.run("quarantine", "show", "last_payment", "--limit", "1").out.splitlines()
    some = withheld.run("quarantine", "show", "last_payment", "--key", "customer=b", "--key", "customer=zz", "--json")

    assert [(row["customer"], row["_interval"][:10], row["amount"]) for row in every] == [
        ("a", "2024-01-02", None),
        ("b", "2024-01-02", 5000.0),
        ("a", "2024-01-03", "NaN"),
    ]
    assert (len(one), one[0].split()[:3]) == (3, ["customer", "event_timestamp", "amount"])
    assert one[2].split()[:3] == ["a", "2024-01-01T10:00:00+00:00", "-"]
    assert f"{TOO_MUCH}, {MISSING}  2024-01-02T00:00:00+00:00  run-one  2024-02-01T09:00:00+00:00" in one[2]
    assert some.data["rows"] == [every[1]]
    # A column that tables of earlier releases lack.
    assert every[0]["_released_by"] is None


def test_where_nothing_is_withheld_that_is_said(applied: Project) -> None:
    assert applied.run("quarantine", "list").out == "nothing is quarantined\n"
    assert applied.run("quarantine", "show", "last_payment").out == "no such row is quarantined\n"


RANGE = ("--start", "2024-01-01T00:00:00Z", "--end", "2024-01-02T00:00:00Z")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "last_paymnt"), "did you mean 'last_payment'?"),
        (("show", "last_payment", "--key", "custmer=a"), "did you mean 'customer'?"),
        (("show", "last_payment", "--limit", "0"), "no number from 1 on"),
        (("show", "last_payment", "--start", "2024-01-01"), "has no time zone"),
        (("release", "last_payment", *RANGE, "--key", "customer"), "--key takes NAME=VALUE"),
        (("release", "last_payment", *RANGE[:2]), "--end"),
        (("release", "last_payment", *RANGE[:3], "2024-01-01T06:00:00Z"), "does not cover whole intervals"),
        (("drop", "last_payment", *RANGE[:3], "2023-01-01T00:00:00Z"), "ends at or before its start"),
    ],
)
def test_wrong_usage_exits_2_before_spark_starts(applied: Project, words: tuple[str, ...], said: str) -> None:
    outcome = applied.run("quarantine", *words)
    assert (outcome.code, said in outcome.err) == (2, True), outcome.err


def test_a_release_that_a_build_overtook_names_the_intervals() -> None:
    result = ReleaseResult(
        view="v@1", status="released", marked=2, rows=2, corrections=1, overtaken=(at("2024-01-02"),), delta_version=7
    )
    released, load, stale = tell_release(result).splitlines()
    assert released == "v@1: released 2 withheld rows; 2 published, 1 of them corrections, at Delta version 7"
    assert load == "  `features load v@1` brings them online"
    assert "stale: the intervals that end at 2024-01-02T00:00:00+00:00; run `features backfill`" in stale


def judge(registry: Registry, *failing: int, **facts: str) -> str:
    """A run in which a rule fails so often, once for each interval; another holds."""
    view = registry.view("last_payment")
    run_id = registry.start_run(
        kind="build", view=view, start=at("2024-01-01"), end=at("2024-01-03"), now=at("2024-01-03")
    )
    told = [
        {"column": "amount", "rule": "between(0, 1000)", "severity": "warn", "interval_end": f"2024-01-0{day}",
         "failing": count, "rows": 9, "keys": ["customer='a'", "customer='b'"], **facts}
        for day, count in enumerate(failing, start=2)
    ]  # fmt: skip
    held = {
        "column": "customer",
        "rule": "not_null()",
        "severity": "refuse",
        "interval_end": "",
        "failing": 0,
        "rows": 9,
    }
    registry.record_validation(run_id, [*told, held])
    registry.finish_run(run_id, status="built")
    return run_id


def test_quality_tells_what_the_gate_said_last_run_first(applied: Project, registry: Registry) -> None:
    runs = [judge(registry, 0), judge(registry, 2, 3), judge(registry)]

    texts = applied.run("quality", "last_payment", "--limit", "2").out.split("\n\n")
    one = applied.run("quality", "last_payment", "--run", runs[1][:10], "--json")

    assert texts[0].startswith(f"run {runs[2][:8]}, ")
    assert texts[0].endswith("built; all 1 rules hold")
    lines = texts[1].splitlines()
    assert lines[0].endswith("[2024-01-01T00:00:00+00:00, 2024-01-03T00:00:00+00:00), built; 1 of 2 rules fail")
    assert [line.split() for line in lines[3:]] == [
        ["amount", "between(0,", "1000)", "warn", f"2024-01-0{day}", count, "9", "customer='a';", "customer='b'"]
        for day, count in ((2, "2"), (3, "3"))
    ]
    assert [(run["run"]["run_id"], len(run["results"])) for run in one.data["runs"]] == [(runs[1], 3)]


def test_quality_without_a_judged_run_says_so(applied: Project) -> None:
    assert applied.run("quality", "last_payment").out == "last_payment@1: the gate has judged no run yet\n"
    unknown = applied.run("quality", "last_payment", "--run", "abc")
    assert (unknown.code, "no run 'abc' of last_payment@1" in unknown.err) == (2, True)
