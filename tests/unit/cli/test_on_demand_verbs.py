"""On-demand features from the command line: planned, applied, and computed of what is typed."""

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
