"""Verbs that need no Spark, through `main` in process."""

import json
import socket
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from features.core.dtypes import DType
from features.core.key_text import parse_key
from features.core.schedule import Interval
from features.errors import UsageError
from features.registry import IntervalOutcome, Registry
from features.stores.memory import MemoryRow, MemoryStore
from tests.builders import at
from tests.projects import Project


def test_plan_tells_what_apply_would_do_and_changes_nothing(project: Project) -> None:
    first, again = project.run("plan"), project.run("plan")
    assert first.code == 0
    assert "+ feature view last_payment: create, version 1" in first.out
    assert first.out == again.out


def test_apply_then_plan_finds_nothing(project: Project) -> None:
    applied = project.run("apply", "--json")
    assert [change["name"] for change in applied.data["changes"]] == [
        "broken_payment",
        "last_payment",
        "next_payment",
        "payment_once",
        "model",
    ]
    assert project.run("plan", "--json").data == {"is_empty": True, "changes": []}


def test_plan_against_another_environment_only_reads_it(project: Project) -> None:
    (project.folder / "conf" / "prod.yaml").write_text("registry: sqlite:///prod/registry.db\n")
    missing = project.run("plan", "--against", "prod")
    assert (missing.code, (project.folder / "prod").exists()) == (1, False)
    assert "there is no registry at sqlite:///prod/registry.db" in missing.err
    assert project.run("apply", "--env", "prod").code == 0
    same = project.run("plan", "--against", "prod", "--exit-code", "--json")
    assert (same.code, same.data) == (0, {"is_empty": True, "changes": [], "against": "prod"})
    own = project.run("plan", "--exit-code", "--markdown")
    assert (own.code, own.out.splitlines()[0]) == (1, "## Feature plan: 5 create")


def test_broken_views_exit_1_and_name_the_module(project: Project) -> None:
    (project.folder / "project_views" / "broken.py").write_text("raise KeyError('x')\n")
    outcome = project.run("plan")
    assert outcome.code == 1
    assert "project_views.broken" in outcome.err
    assert "Traceback" not in outcome.err


def test_sources_are_listed_with_what_was_recorded_and_accepted_where_they_changed(project: Project) -> None:
    project.run("apply")
    listed = project.run("sources", "--json").data["sources"]
    assert {(s["view"], s["source"], s["kind"], s["columns"]) for s in listed} >= {
        ("last_payment@1", "payments", "parquet", None)
    }
    assert project.run("sources", "accept", "last_payment").out.startswith("no build of last_payment@1 was refused")
    with Registry.open(f"sqlite:///{project.folder / '.state' / 'registry.db'}") as registry:
        view = registry.view("last_payment")
        registry.record_source_schemas(view, "r", since=at("2024-01-02"), columns={"payments": {"amount": "double"}})
        registry.refuse_source_schema(
            view, "r", source="payments", since=at("2024-01-03"), found={"amount": "string", "shop": "int"}
        )
    told = project.run("sources", "last_payment").out
    assert "changed: repair, or accept" in told
    assert "payments of last_payment@1: column 'amount' was double and is string" in told
    accepted = project.run("sources", "accept", "last_payment")
    assert accepted.out == "accepted for last_payment@1: payments; build again what was refused\n"
    (source,) = project.run("sources", "last_payment", "--json").data["sources"]
    assert (source["columns"], source["changes"]) == ({"amount": "string", "shop": "int"}, [])
    assert project.run("sources", "last_payment", "next_payment").code == 2
    assert project.run("sources", "accept").code == 2


def test_an_unknown_view_suggests_the_nearest(project: Project) -> None:
    project.run("apply")
    outcome = project.run("status", "last_paymnt", "--json")
    assert outcome.code == 2
    assert outcome.data["error"]["type"] == "NotFoundError"
    assert "did you mean 'last_payment'?" in outcome.data["error"]["message"]


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2024-01-01T06:00:00Z", "2024-01-02T00:00:00Z", "does not cover whole intervals"),
        ("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z", "ends at or before its start"),
        ("2024-01-01", "2024-01-02", "has no time zone"),
        ("yesterday", "2024-01-02T00:00:00Z", "is not an ISO time"),
    ],
)
def test_a_range_that_makes_no_sense_exits_2_before_spark_starts(
    project: Project, start: str, end: str, said: str
) -> None:
    project.run("apply")
    for verb in ("build", "materialize"):
        outcome = project.run(verb, "last_payment", "--start", start, "--end", end)
        assert outcome.code == 2
        assert said in outcome.err


def test_changed_code_exits_1_until_it_is_applied(project: Project) -> None:
    project.run("apply")
    views = project.folder / "project_views" / "__init__.py"
    views.write_text(
        views.read_text().replace('"paid_at", "event_timestamp")', '"paid_at", "event_timestamp").limit(1)')
    )
    del sys.modules["project_views"]
    outcome = project.run("build", "last_payment", "--start", "2024-01-01T00:00:00Z", "--end", "2024-01-02T00:00:00Z")
    assert outcome.code == 1
    assert "features apply" in outcome.err


def test_status_of_a_registry_without_views_says_so(project: Project) -> None:
    outcome = project.run("status")
    assert outcome.code == 0
    assert "features apply" in outcome.out


@pytest.fixture
def built(project: Project) -> Project:
    """January 1 built, 2 missing, 3 empty, 4 refused, as the registry has it."""
    project.run("apply")
    with Registry.open(f"sqlite:///{project.folder / '.state' / 'registry.db'}") as registry:
        view = registry.view("last_payment")
        run_id = registry.start_run(kind="build", view=view, start=None, end=None, now=at("2024-01-05"))
        outcomes = [
            IntervalOutcome(interval=_day(1), status="built", rows=2, position=1, delta_version=0),
            IntervalOutcome(interval=_day(3), status="empty"),
            IntervalOutcome(interval=_day(4), status="refused"),
        ]
        registry.record_intervals(view, run_id, outcomes)
        registry.record_commit(view, position=1, delta_version=0, committed_at=at("2024-01-05"), run_id=run_id)
        registry.finish_run(run_id, status="refused", message="amount: 1 of 2 rows fail")
    return project


def test_status_counts_intervals_and_names_holes(built: Project) -> None:
    (view,) = built.run("status", "last_payment", "--json", "--set", "airflow.end=2024-01-04T12:00Z").data["views"]
    counts = {name: view[name] for name in ("built", "empty", "refused", "failed", "stale", "position", "loaded")}
    assert counts == {"built": 1, "empty": 1, "refused": 1, "failed": 0, "stale": 0, "position": 1, "loaded": 0}
    assert [hole["start"] for hole in view["holes"]] == ["2024-01-02T00:00:00+00:00", "2024-01-04T00:00:00+00:00"]
    assert view["missing"] == 1
    assert (view["last_run"], view["message"]) == ("build refused", "amount: 1 of 2 rows fail")


def test_status_of_all_views_shows_the_last_message(built: Project) -> None:
    outcome = built.run("status")
    assert "last_payment@1: amount: 1 of 2 rows fail" in outcome.out


def test_status_draws_and_lists_the_intervals_of_a_range(built: Project) -> None:
    narrowed = ("--start", "2024-01-02T00:00:00Z", "--end", "2024-01-05T00:00:00Z")
    told = built.run("status", "last_payment", *narrowed).out
    assert "2024-01   _·x" in told.replace(".", "·")
    assert "to do:        features backfill last_payment --start 2024-01-02T00:00:00+00:00" in told
    intervals = built.run("status", "last_payment", *narrowed, "--json").data["intervals"]
    assert [item["status"] for item in intervals] == ["missing", "empty", "refused"]
    assert (intervals[0]["run_id"], intervals[1]["run_id"] is None) == (None, False)
    assert built.run("status", *narrowed).code == 2


def test_get_without_a_loaded_table_exits_1(project: Project) -> None:
    project.run("apply")
    outcome = project.run("get", "--features", "model", "customer=a")
    assert outcome.code == 1
    assert "last_payment__v1" in outcome.err


@pytest.fixture
def loaded(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Customer a has an amount online; every store that the process opens is that one."""
    project.run("apply")
    with Registry.open(f"sqlite:///{project.folder / '.state' / 'registry.db'}") as registry:
        view = registry.view("last_payment")
    store = MemoryStore()
    store.create(view)
    micros = 1_704_103_200_000_000  # 2024-01-01 10:00
    row = MemoryRow(key=("a",), event_micros=micros, created_micros=micros, values={"amount": 2.5})
    store.apply_rows(view.online_table, [row], position=1)
    monkeypatch.setattr("features.stores.opening.open_online_store", lambda settings, **_: store)
    return project


def test_get_tells_value_and_status_of_each_row(loaded: Project) -> None:
    outcome = loaded.run("get", "--features", "model", "--entity", "customer=a", "--entity", "customer=z", "--json")
    present, absent = outcome.data["rows"]
    assert present == {
        "entity": {"customer": "a"},
        "features": {
            "amount": {"value": 2.5, "status": "PRESENT", "event_timestamp": "2024-01-01T10:00:00+00:00"},
        },
    }
    assert absent["features"]["amount"] == {"value": None, "status": "NOT_FOUND", "event_timestamp": None}


def test_get_prints_a_table(loaded: Project) -> None:
    lines = loaded.run("get", "--features", "last_payment:amount", "customer=a").out.splitlines()
    assert lines[0].split() == ["customer", "feature", "value", "status", "event", "time"]
    assert lines[2].split() == ["a", "amount", "2.5", "PRESENT", "2024-01-01T10:00:00+00:00"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["customer"], "NAME=VALUE"),
        (["custmer=a"], "did you mean 'customer'?"),
        ([], "customer"),
    ],
)
def test_get_refuses_rows_without_their_keys(loaded: Project, words: list[str], said: str) -> None:
    outcome = loaded.run("get", "--features", "model", *words)
    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.parametrize(
    ("dtype", "text", "value"),
    [
        (DType.STRING, "007", "007"),
        (DType.INT64, "-7", -7),
        (DType.BOOL, "True", True),
        (DType.DECIMAL(5, 2), "1.10", Decimal("1.10")),
        (DType.DATE, "2024-01-31", date(2024, 1, 31)),
        (DType.TIMESTAMP, "2024-01-31T01:00:00+01:00", datetime(2024, 1, 31, tzinfo=UTC)),
        (DType.BYTES, "AAE=", b"\x00\x01"),
    ],
)
def test_a_key_is_read_by_its_type(dtype: DType, text: str, value: Any) -> None:
    found = parse_key(text, dtype, name="k")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("dtype", "text"),
    [(DType.INT32, "1.5"), (DType.BOOL, "yes"), (DType.DECIMAL(5, 2), "x"), (DType.DATE, "x"), (DType.BYTES, "A"),
     (DType.TIMESTAMP, "2024-01-31")],
)  # fmt: skip
def test_a_key_of_another_type_is_refused(dtype: DType, text: str) -> None:
    with pytest.raises(UsageError, match="k="):
        parse_key(text, dtype, name="k")


def test_serve_on_a_port_in_use_exits_1(project: Project) -> None:
    project.run("apply")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        outcome = project.run("serve", "--port", str(server.getsockname()[1]))
    assert outcome.code == 1
    assert "is in use" in outcome.err


def test_cassandra_does_not_start_where_none_is_used(project: Project) -> None:
    outcome = project.run("cassandra", "start")
    assert outcome.code == 2
    assert "online.type is 'memory'" in outcome.err


def test_cassandra_status_tells_where_it_would_listen(project: Project) -> None:
    cassandra = ("--set", "online.type=cassandra", "--set", "online.embedded=true", "--set", "online.port=9777")
    outcome = project.run("cassandra", "status", "--json", *cassandra)
    assert outcome.code == 0
    assert (outcome.data["running"], outcome.data["port"]) == (False, 9777)


def test_resetting_cassandra_forgets_what_was_loaded(project: Project) -> None:
    project.run("apply")
    cassandra = ("--set", "online.type=cassandra", "--set", "online.embedded=true", "--set", "online.port=9777")
    target = "cassandra://127.0.0.1:9777/features"
    with Registry.open(f"sqlite:///{project.folder / '.state' / 'registry.db'}") as registry:
        view = registry.view("last_payment")
        registry.move_checkpoint(view, target=target, position=4)
        assert project.run("cassandra", "reset", *cassandra).code == 0
        assert registry.checkpoint(view, target=target) == 0


def test_the_doctor_names_each_problem_and_what_to_do(project: Project) -> None:
    outcome = project.run("doctor", "--json", "--set", "online.type=cassandra", "--set", "online.port=9777")
    checks = {check["name"]: check for check in outcome.data["checks"]}
    assert outcome.code == 1
    assert outcome.data["problems"] >= 2
    assert "features plan" in checks["views"]["found"]
    assert "no CQL server at 127.0.0.1, port 9777" in checks["online store"]["found"]
    assert checks["sources"]["ok"]
    assert checks["warehouse"]["ok"]
    assert checks["Python"]["ok"]


def test_the_doctor_finds_missing_sources(project: Project) -> None:
    project.run("apply")
    (project.folder / "source").rename(project.folder / "moved")
    checks = {check["name"]: check for check in project.run("doctor", "--json").data["checks"]}
    assert checks["views"]["ok"]
    assert str(project.folder / "source") in checks["sources"]["found"]


def test_the_doctor_goes_on_without_a_configuration(project: Project) -> None:
    outcome = project.run("doctor", "--conf", "elsewhere")
    assert outcome.code == 1
    assert "PROBLEM  configuration" in outcome.out
    assert "Python" in outcome.out


def _day(number: int) -> Interval:
    start = datetime(2024, 1, number, tzinfo=UTC)
    return Interval(start, start + timedelta(days=1))


def test_data_docs_are_written_where_they_are_wanted(project: Project) -> None:
    project.run("apply")
    outcome = project.run("data-docs", "last_payment", "--output", "site", "--json")
    assert outcome.code == 0
    assert outcome.data == {"index": "site/index.html", "pages": ["site/last_payment.v1.html"]}
    assert "No run has built it." in (project.folder / "site" / "last_payment.v1.html").read_text()
    assert project.run("data-docs").code == 2


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "amuont"}}, "did you mean 'amount'?"),
        ({"type": "expect_colum_to_exist", "kwargs": {"column": "amount"}}, "expect_colum_to_exist not found"),
    ],
)
def test_a_suite_that_no_run_could_judge_is_refused_before_anything_is_applied(
    project: Project, expectation: dict[str, Any], message: str
) -> None:
    (project.folder / "suite.json").write_text(json.dumps({"expectations": [expectation]}))
    views = project.folder / "project_views" / "__init__.py"
    suited = 'from dataclasses import replace\nSUITED = replace(LAST, name="suited", suite="suite.json")\n'
    views.write_text(views.read_text() + suited)
    for verb in ("plan", "apply"):
        outcome = project.run(verb, "--json")
        assert outcome.code == 1
        assert outcome.data["error"]["type"] == "DefinitionError"
        assert "FeatureView 'suited': suite 'suite.json': expectation 1" in outcome.data["error"]["message"]
        assert message in outcome.data["error"]["message"]
    assert project.run("status", "--json").data["views"] == []
