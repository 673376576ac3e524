"""What an author may write of an on-demand view, and what makes a version of it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest

from features import DType, Expect, Feature, GoldenRow, OnDemandFeatureView, RequestSource, on_demand
from features.core.applied_on_demand import (
    applied_on_demand_view,
    check_on_demand_code,
    on_demand_definition,
    on_demand_metadata,
)
from features.core.canonical import definition_hash
from features.core.discovery import discover
from features.errors import DefinitionError, StaleCodeError
from tests.applied_views import SPEND, applied_view
from tests.on_demand_views import CHECKS, TRANSACTION, apply_on_demand, checks

Write = Callable[[Mapping[str, str]], str]

MODULE = """
from features import *
PAYMENT = RequestSource(name="payment", schema={"price": DType.FLOAT64}, description="DESCRIPTION")
LIMIT = 100.0
def doubled(values):
    return values * 2
@on_demand(inputs=["spend:amount", PAYMENT], returns=[Feature("ratio", DType.FLOAT64, unit="1")], mode="arrow",
           owner="OWNER", golden=[])
def checks(batch):
    \"\"\"DOCUMENTATION\"\"\"
    return doubled(batch)
"""


def identity(batch):
    """Nothing new.

    At all.
    """
    return batch


def make(function=identity, **changes):
    given = {"inputs": ["spend:amount"], "returns": [Feature("ratio", DType.FLOAT64)], **changes}
    return on_demand(**given)(function)


def test_name_and_description_come_of_the_function():
    view = make()

    assert (view.name, view.description, view.owner, view.mode) == ("identity", "Nothing new.", "", "pandas")
    assert make(name="other", description="").name == "other"
    assert view("a batch") == "a batch"


def test_inputs_are_named_barely_and_in_order():
    view = make(inputs=[TRANSACTION, "spend@2:amount", "route:minutes"])

    assert view.input_names == ("price", "paid_at", "amount", "minutes")
    assert [str(reference) for reference in view.references] == ["spend@2:amount", "route:minutes"]
    assert view.request_sources == (TRANSACTION,)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"inputs": []}, "inputs must hold at least one"),
        ({"inputs": "spend:amount"}, "inputs must be a list of references and request sources"),
        ({"inputs": [SPEND]}, "inputs must hold references and request sources, got AppliedView"),
        ({"inputs": ["spend"]}, "'spend' is a whole view; name the features"),
        ({"inputs": ["Spend:amount"]}, "is not a reference"),
        ({"inputs": ["spend:amount", "refund:amount"]}, "inputs and returns holds 'amount' twice"),
        ({"inputs": ["spend:price", TRANSACTION]}, "inputs and returns holds 'price' twice"),
        ({"returns": [Feature("amount", DType.INT32)]}, "inputs and returns holds 'amount' twice"),
        ({"returns": []}, "returns must hold at least one Feature"),
        ({"returns": [Feature("ratio", DType.FLOAT64, expect=Expect.not_null())]}, "no gate judges it"),
        ({"mode": "polars"}, "mode must be one of 'pandas', 'arrow', got 'polars'"),
        ({"name": "Ratio"}, "must be lower case"),
        ({"golden": [{"amount": 1.0}]}, "golden must hold GoldenRow only"),
        ({"golden": [GoldenRow({}, {"ratio": 1.0})]}, r"golden\[0\] lacks 'amount' in its inputs"),
        ({"golden": [GoldenRow({"amount": 1.0}, {})]}, r"golden\[0\] lacks 'ratio' in its outputs"),
        ({"golden": [GoldenRow({"amount": 1.0, "x": 1}, {"ratio": 1.0})]}, r"golden\[0\] has 'x' in its inputs"),
    ],
)
def test_what_cannot_be_is_refused_at_birth(changes, told):
    with pytest.raises(DefinitionError, match=told):
        make(**changes)


async def waits(batch):
    return batch


def takes_two(batch, other):
    return batch


@pytest.mark.parametrize(
    ("function", "told"),
    [(waits, "no `async`"), (takes_two, "must take one argument"), (dict, "must be a function, got type")],
)
def test_only_a_plain_function_of_one_batch_will_do(function, told):
    with pytest.raises(DefinitionError, match=told):
        make(function, name="given")


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({}, "at least one column"),
        ({"event_timestamp": DType.TIMESTAMP}, "a column of the feature store itself"),
        ({"Price": DType.FLOAT64}, "must be lower case"),
        ({"price": float}, "must be a DType"),
    ],
)
def test_a_request_source_names_columns_and_types(schema, told):
    with pytest.raises(DefinitionError, match=told):
        RequestSource(name="transaction", schema=schema)


def read(write_package: Write, text: str, changes: Mapping[str, str]) -> OnDemandFeatureView:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    module = f"{write_package({'module.py': text})}.module"
    return __import__(module, fromlist=["checks"]).checks


def version_hash(view: OnDemandFeatureView) -> str:
    return definition_hash(on_demand_definition(view))


@pytest.mark.parametrize(
    "changes",
    [
        {"OWNER": "another"},
        {"DOCUMENTATION": "another", "DESCRIPTION": "another"},
        {'unit="1"': 'unit="EUR"'},
        {"golden=[]": "golden=[GoldenRow({'amount': 1.0, 'price': 2.0}, {'ratio': 3.0})]"},
        {"return doubled(batch)": "# a comment\n    return doubled(batch)"},
        {"LIMIT = 100.0": "LIMIT = 200.0"},
    ],
)
def test_what_no_value_depends_on_makes_no_version(write_package, changes):
    assert version_hash(read(write_package, MODULE, changes)) == version_hash(read(write_package, MODULE, {}))


@pytest.mark.parametrize(
    "changes",
    [
        {"values * 2": "values * 3"},
        {"return doubled(batch)": "return batch"},
        {'"spend:amount"': '"spend:visits"'},
        {'"price": DType.FLOAT64': '"price": DType.FLOAT32'},
        {'Feature("ratio", DType.FLOAT64': 'Feature("ratio", DType.FLOAT32'},
        {'mode="arrow"': 'mode="pandas"'},
        {'["spend:amount", PAYMENT]': '[PAYMENT, "spend:amount"]'},
    ],
)
def test_what_values_depend_on_makes_a_version(write_package, changes):
    assert version_hash(read(write_package, MODULE, changes)) != version_hash(read(write_package, MODULE, {}))


def test_a_decorator_by_its_modules_name_is_left_out_too(write_package):
    changes = {"from features import *": "import features\nfrom features import *", "@on_demand": "@features.on_demand"}

    assert version_hash(read(write_package, MODULE, changes)) == version_hash(read(write_package, MODULE, {}))


def test_code_counts_as_it_was_imported(write_package, tmp_path):
    view = read(write_package, MODULE, {})
    before = version_hash(view)
    (file,) = tmp_path.glob("*/module.py")
    file.write_text(file.read_text().replace("values * 2", "values * 3"))

    assert version_hash(view) == before


def test_a_function_without_source_can_be_tried_but_not_applied():
    space: dict[str, object] = {"make": make, "__name__": "prompt"}
    exec("def typed(batch):\n    return batch\nview = make(typed)", space)

    view = space["view"]
    assert isinstance(view, OnDemandFeatureView)
    assert view(1) == 1
    with pytest.raises(DefinitionError, match="source"):
        on_demand_definition(view)


def test_a_version_survives_its_json():
    definition = on_demand_definition(checks)
    pinned = [{"feature": "spend@1:amount", "dtype": "float64"}, *definition["inputs"][1:]]

    view = applied_on_demand_view(
        {**definition, "inputs": pinned}, on_demand_metadata(checks), version=3, find_view=lambda reference: SPEND
    )

    assert view.reference == "checks@3"
    assert dict(view.input_types) == {"amount": DType.FLOAT64, "price": DType.FLOAT64, "paid_at": DType.TIMESTAMP}
    assert dict(view.request_columns) == dict(TRANSACTION.schema)
    assert dict(view.join_keys) == {"customer": DType.STRING}
    assert view.features == checks.features
    assert (view.description, view.owner) == ("What is odd about a payment.", "fraud@example.com")
    assert view.definition_hash == CHECKS.definition_hash


def test_the_version_of_what_is_read_is_part_of_the_hash():
    newer = apply_on_demand(checks, applied_view("spend", features={"amount": DType.FLOAT64}, version=2))

    assert newer.definition_hash != CHECKS.definition_hash


def held(code: OnDemandFeatureView | None) -> OnDemandFeatureView:
    return check_on_demand_code(
        code, reference="checks@1", wanted_hash=CHECKS.definition_hash, pinned_inputs=CHECKS.pinned_inputs
    )


def test_code_that_was_applied_is_found_fit_and_any_other_is_not():
    assert held(checks) is checks
    with pytest.raises(StaleCodeError, match=r"the code of 'identity' here .* is not that of checks@1"):
        held(make(inputs=["spend:amount", TRANSACTION]))
    with pytest.raises(StaleCodeError, match="has nothing of checks@1"):
        held(None)


SHARED = """
from datetime import timedelta
from features import *
CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})
PAYMENTS = BatchSource(name="payments", path="data", format="parquet", timestamp_field="paid_at")
SPEND = FeatureView(name="spend", entities=[CUSTOMER], sources=[PAYMENTS], transform=lambda payments: payments,
                    lookback=None, schedule="@daily", features=[Feature("amount", DType.FLOAT64)], delay=timedelta(0),
                    owner="o", description="d")
PAYMENT = RequestSource(name="payment", schema={"price": DType.FLOAT64})
def make(name, *inputs):
    return on_demand(inputs=inputs, returns=[Feature("ratio", DType.FLOAT64)], name=name)(same)
def same(batch):
    return batch
"""


def test_on_demand_views_are_found_like_views(write_package):
    package = write_package(
        {
            "shared.py": SHARED,
            "one.py": "from PACKAGE.shared import *\nONE = make('one', 'spend:amount', PAYMENT)\n"
            "S = FeatureService(name='s', features=['one:ratio', 'spend', 'one@4:gone'])",
        }
    )

    found = discover(package)

    assert list(found.on_demand) == ["one"]
    assert list(found.services) == ["s"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("A = make('spend', 'spend:amount')", "'spend' names both a feature view and an on-demand feature view"),
        (
            "A = make('fraud', PAYMENT)\nB = FeatureService(name='fraud', features=['spend'])",
            "'fraud' names both an on-demand feature view and a feature service",
        ),
        ("A = make('a', 'spend:amuont')", "OnDemandFeatureView 'a': no feature in 'spend' 'amuont'; did you mean"),
        ("A = make('a', 'spent:amount')", "OnDemandFeatureView 'a': no feature view 'spent'; did you mean 'spend'"),
        ("A = make('a', PAYMENT)\nB = make('b', 'a:other')", "OnDemandFeatureView 'b': 'a:other' is on demand itself"),
        ("A = make('a', PAYMENT)\nB = make('a', 'spend:amount')", "two definitions of OnDemandFeatureView 'a'"),
        (
            "A = make('a', RequestSource(name='payment', schema={'price': DType.INT32}))",
            "uses a RequestSource 'payment' that differs",
        ),
        ("S = FeatureService(name='s', features=['one:ratoi'])\nA = make('one', PAYMENT)", "did you mean 'ratio'"),
    ],
)
def test_definitions_that_do_not_fit_together_are_named(write_package, line, told):
    package = write_package({"shared.py": SHARED, "one.py": f"from PACKAGE.shared import *\n{line}"})

    with pytest.raises(DefinitionError, match=told):
        discover(package)


def test_golden_values_are_plain_and_frozen():
    row = GoldenRow({"at": datetime(2024, 1, 1, tzinfo=UTC)}, {"ratio": None})

    with pytest.raises(TypeError):
        row.inputs["at"] = None  # type: ignore[index]
