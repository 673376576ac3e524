"""From a joined batch to the answer, as an executor does it: in plain Python, without Spark."""

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from features.core.discovery import Definitions, discover
from features.core.request import CompiledRequest, compile_request
from features.errors import ConfigError, PlatformError, SpineError, StaleCodeError, TransformError
from features.training.on_demand import Derivation, check_request_columns
from tests.applied_views import SPEND, requested
from tests.builders import apply_view
from tests.on_demand_views import apply_on_demand, derived

PACKAGE = """
from datetime import timedelta
from features import *
CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})
PAYMENTS = BatchSource(name="payments", path="data", format="parquet", timestamp_field="paid_at")
SPEND = FeatureView(name="spend", entities=[CUSTOMER], sources=[PAYMENTS], transform=lambda payments: payments,
                    lookback=None, schedule="@daily", features=[Feature("amount", DType.FLOAT64)], delay=timedelta(0),
                    owner="o", description="d")
PAYMENT = RequestSource(name="payment", schema={"price": DType.FLOAT64})
@on_demand(inputs=["spend:amount", PAYMENT], returns=[Feature("ratio", DType.FLOAT64), Feature("twice", DType.FLOAT64)])
def checks(batch):
    if (batch["price"] < 0).any():
        raise ValueError("negative price")
    return batch.assign(ratio=batch["price"] / batch["amount"], twice=batch["price"] * 2)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A views package that is on the path while a test runs."""
    name = f"derivation_views_{abs(hash(tmp_path))}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(PACKAGE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield name
    sys.modules.pop(name, None)


Ask = Callable[..., CompiledRequest]


@pytest.fixture
def ask(package: str) -> Ask:
    """Compiles a request for those features of `checks`, and after them one that is stored."""
    definitions = discover(package)
    (spend,) = (apply_view(view) for view in definitions.views.values())
    checks = apply_on_demand(definitions.on_demand["checks"], spend)

    def compile_(*names: str) -> CompiledRequest:
        return compile_request((*derived(checks, *names), *requested(SPEND, "visits")))

    return compile_


def batch(*prices: float | None) -> pa.RecordBatch:
    count = len(prices)
    return pa.record_batch(
        {
            "customer": pa.array(["a"] * count),
            "price": pa.array(prices, pa.float64()),
            "visits": pa.array([7] * count, pa.int64()),
            "_spend__v1__amount": pa.array([2.0] * count, pa.float64()),
            "_status": pa.array([2] * count, pa.int32()),
        }
    )


def test_hidden_inputs_go_and_the_answer_comes_last_in_the_order_asked(package, ask):
    derivation = Derivation.of(ask("twice", "ratio"), discover(package), package=package)

    found = derivation.apply(batch(3.0, None))

    assert found.to_pydict() == {
        "customer": ["a", "a"],
        "price": [3.0, None],
        "_status": [2, 2],
        "twice": [6.0, None],
        "ratio": [1.5, None],
        "visits": [7, 7],
    }
    assert [b.num_rows for b in derivation.batches(iter([batch(), batch(1.0)]))] == [0, 1]


def test_it_travels_and_finds_the_package_where_the_driver_has_it(package, ask, tmp_path, monkeypatch):
    sent = pickle.dumps(Derivation.of(ask("ratio"), discover(package), package=package))
    # A worker: the package was never imported, and is not on the path.
    sys.modules.pop(package)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])

    assert pickle.loads(sent).apply(batch(3.0))["ratio"].to_pylist() == [1.5]


def test_a_worker_without_the_package_says_so(package, ask, tmp_path, monkeypatch):
    derivation = Derivation.of(ask("ratio"), discover(package), package=package)
    sys.modules.pop(package)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    (tmp_path / package).rename(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match="is its folder on PYTHONPATH"):
        derivation.apply(batch(3.0))


def test_a_worker_with_other_code_refuses(package, ask, tmp_path):
    derivation = Derivation.of(ask("twice"), discover(package), package=package)
    sys.modules.pop(package)
    module = tmp_path / package / "__init__.py"
    module.write_text(PACKAGE.replace("* 2", "* 3"))

    with pytest.raises(StaleCodeError, match=r"the code of 'checks' here .* is not that of checks@1"):
        derivation.apply(batch(3.0))


def test_a_driver_with_other_code_or_none_refuses(ask):
    with pytest.raises(StaleCodeError, match="has nothing of checks@1"):
        Derivation.of(ask("ratio"), Definitions(views={}, services={}), package="any")


def test_a_driver_without_pandas_says_so(package, ask, monkeypatch):
    definitions, compiled = discover(package), ask("ratio")
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(PlatformError, match="on-demand feature view 'checks' computes with pyarrow and pandas"):
        Derivation.of(compiled, definitions, package=package)


def test_a_function_that_fails_is_named(package, ask):
    derivation = Derivation.of(ask("ratio"), discover(package), package=package)

    with pytest.raises(TransformError, match="on-demand feature view 'checks' failed: ValueError: negative price"):
        derivation.apply(batch(3.0, -1.0))


def test_a_request_column_of_another_type_in_a_batch_is_told(package, ask):
    derivation = Derivation.of(ask("ratio"), discover(package), package=package)
    wrong = batch(3.0).set_column(1, "price", pa.array(["3"]))

    with pytest.raises(SpineError, match="column 'price', which a function reads: it is string, declared as float64"):
        derivation.apply(wrong)


def test_without_on_demand_features_the_answer_is_ordered_alone():
    compiled = compile_request((*requested(SPEND, "visits", "amount"),))
    derivation = Derivation.of(compiled, Definitions(views={}, services={}), package="none")

    assert not derivation.is_needed
    assert derivation.apply(pa.record_batch({"amount": [1.0], "x": ["y"], "visits": [7]})).to_pydict() == {
        "x": ["y"],
        "visits": [7],
        "amount": [1.0],
    }


@pytest.mark.parametrize("kind", ["double", "float", "void"])
def test_a_spine_with_request_columns_that_widen_is_fine(ask, kind):
    check_request_columns({"customer": "string", "price": kind}, ask("ratio"))


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ({"pice": "double"}, "no column 'price'; did you mean 'pice'.; checks reads it of the request, as float64"),
        ({"price": "bigint"}, "request column 'price' is bigint, but must be double; cast it"),
    ],
)
def test_a_spine_without_them_is_told(ask, kinds, told):
    with pytest.raises(SpineError, match=f"entity_df: {told}"):
        check_request_columns(kinds, ask("ratio"))
