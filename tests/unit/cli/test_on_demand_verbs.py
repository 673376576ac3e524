"""On-demand features from the command line: planned, applied, and computed of what is typed."""

import sys
from pathlib import Path

import pytest

from tests.projects import PACKAGE, Project

ON_DEMAND = """
from features import GoldenRow, RequestSource, on_demand

GIVEN = RequestSource(name="given", schema={"price": DType.FLOAT64, "tags": DType.ARRAY(DType.STRING)})
PRICE = RequestSource(name="price", schema={"price": DType.FLOAT64, "at": DType.TIMESTAMP})

@on_demand(inputs=[PRICE], returns=[Feature("is_high", DType.BOOL), Feature("hour", DType.INT64)],
           golden=[GoldenRow({"price": WANTED, "at": None}, {"is_high": True, "hour": None})])
def checks(batch):
    return batch.assign(is_high=batch["price"] > 100.0, hour=batch["at"].dt.hour)

@on_demand(inputs=[GIVEN], returns=[Feature("count", DType.INT32)])
def listed(batch):
    return batch.assign(count=batch["tags"].list.len())

@on_demand(inputs=["last_payment:amount"], returns=[Feature("doubled", DType.FLOAT64)])
def doubled(batch):
    return batch.assign(doubled=batch["amount"] * 2)
"""


def define(project: Project, wanted: float) -> None:
    module: Path = project.folder / PACKAGE / "__init__.py"
    module.write_text(module.read_text() + ON_DEMAND.replace("WANTED", str(wanted)))


@pytest.fixture
def applied(project: Project) -> Project:
    define(project, 100.5)
    assert project.run("apply").code == 0
    return project


def test_apply_tells_what_it_reads_and_computes(project):
    define(project, 100.5)

    planned = project.run("plan").out

    assert "+ on-demand feature view checks: create, version 1" in planned
    assert "inputs: price float64 of the request, at timestamp of the request" in planned
    assert "features: is_high bool, hour int64" in planned


def test_a_golden_row_that_fails_is_refused(project):
    define(project, 99.5)

    for verb in ("plan", "apply"):
        outcome = project.run(verb)
        assert outcome.code == 1
        assert "'checks': golden[0], column 'is_high': got False, wanted True" in outcome.err


def test_get_reads_request_columns_by_their_types(applied):
    outcome = applied.run("get", "--features", "checks", "price=100.5", "at=2024-01-01T23:00:00Z", "--json")

    assert outcome.data["rows"] == [
        {
            "entity": {"price": 100.5, "at": "2024-01-01T23:00:00+00:00"},
            "features": {
                "is_high": {"value": True, "status": "PRESENT", "event_timestamp": None},
                "hour": {"value": 23, "status": "PRESENT", "event_timestamp": None},
            },
        }
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["checks", "price=1.0"], "lacks 'at', a request column of checks"),
        (["checks", "price=high", "at=2024-01-01T00:00:00Z"], "price='high' is not of type float64"),
        (["checks", "pirce=1.0"], "no join key or request column 'pirce'; did you mean 'price'?"),
        (
            ["listed", "tags=a"],
            "tags is of type array<string>, which has no form on a command line; use Python or HTTP",
        ),
        (["doubled", "price=1.0"], "no join key or request column 'price'"),
    ],
)
def test_get_tells_what_it_cannot_read(applied, words, told):
    outcome = applied.run("get", "--features", *words)

    assert (outcome.code, told in outcome.err) == (2, True), outcome.err


def test_test_computes_golden_rows_without_registry_or_spark(project):
    define(project, 100.5)

    outcome = project.run("test", "checks")
    told = project.run("test", "doubled", "--json")

    assert (outcome.code, outcome.out.splitlines()[0]) == (0, "checks: passed")
    assert "on demand: no intervals" in outcome.out
    assert "golden rows: 1, and one of nulls" in outcome.out
    assert told.data == {"view": "doubled", "kind": "on demand", "golden_rows": 0}
    assert "add golden=" in project.run("test", "doubled").out
    assert not (project.folder / ".state" / "registry.db").exists()


def test_test_fails_where_a_golden_row_does(project):
    define(project, 99.5)

    outcome = project.run("test", "checks")

    assert outcome.code == 1
    assert "'checks': golden[0], column 'is_high': got False, wanted True" in outcome.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["checks", "--source", "payments=sample.parquet"], "checks is on demand and reads no source"),
        (["checks", "--start", "2024-01-01T00:00Z", "--end", "2024-01-02T00:00Z"], "leave out --source, --start"),
        (["chekcs"], "no feature view 'chekcs'; did you mean 'checks'?"),
    ],
)
def test_test_tells_what_an_on_demand_view_does_not_take(project, words, told):
    define(project, 100.5)

    outcome = project.run("test", *words)

    assert (outcome.code, told in outcome.err) == (2, True), outcome.err


def test_test_takes_the_types_of_a_version_that_is_named_from_the_registry(project):
    define(project, 100.5)
    project.run("apply")
    module = project.folder / PACKAGE / "__init__.py"
    module.write_text(module.read_text().replace('inputs=["last_payment:amount"]', 'inputs=["last_payment@1:amount"]'))
    sys.modules.pop(PACKAGE)

    assert project.run("test", "doubled").code == 0

    module.write_text(module.read_text().replace("last_payment@1:amount", "last_payment@1:amuont"))
    sys.modules.pop(PACKAGE)
    outcome = project.run("test", "doubled")
    assert (outcome.code, "did you mean 'amount'?" in outcome.err) == (2, True), outcome.err


def test_status_lists_on_demand_views_without_intervals(applied):
    lines = [line.split() for line in applied.run("status").out.splitlines()]
    assert ["checks@1", "on", "demand"] in lines
    data = applied.run("status", "doubled", "--json").data
    assert data == {
        "views": [],
        "on_demand": [
            {
                "view": "doubled@1",
                "inputs": ["last_payment@1:amount"],
                "features": ["doubled"],
                "schedule": "on demand",
            }
        ],
    }
    one = applied.run("status", "checks@1")
    assert (one.code, "on demand" in one.out, "price, at" in one.out) == (0, True, True)
    assert len(applied.run("status", "--json").data["on_demand"]) == 3
