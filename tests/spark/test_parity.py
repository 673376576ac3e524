"""Two versions compared key by key, against answers worked out by hand and against the rules in plain Python."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, Transaction, write_deltalake
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features import DType
from features.core.applied import AppliedView
from features.errors import SpineError, StorageError, UsageError
from features.materialization.parity import ParityCheck
from features.materialization.parity_result import Parity
from features.stores.log_state import OP
from tests.applied_views import applied_view
from tests.builders import at
from tests.logs import log_schema, put
from tests.oracle import Row, online
from tests.strategies import logs

pytestmark = pytest.mark.spark

NAN, INF = math.nan, math.inf
NOON = at("2024-01-01T12:00:00")
Compare = Callable[..., Parity]


@pytest.fixture
def compare(spark: Any, tmp_path: Path) -> Compare:
    """Compares versions 1 and 2 of a view, of these features and latest values by key."""

    def run(
        features: Mapping[str, DType],
        first: Mapping[str, Sequence[Any]],
        second: Mapping[str, Sequence[Any]],
        other_features: Mapping[str, DType] | None = None,
        **options: Any,
    ) -> Parity:
        views = [applied_view(features=features), applied_view(features=other_features or features, version=2)]
        for view, rows in zip(views, (first, second), strict=True):
            names = [f.name for f in view.features]
            write(tmp_path, view, [
                put(NOON, NOON, customer=key, **dict(zip(names, values, strict=True))) for key, values in rows.items()
            ])  # fmt: skip
        return ParityCheck(spark=spark, warehouse=str(tmp_path)).compare(*views, **options)

    return run


def write(warehouse: Path, view: AppliedView, rows: Sequence[Mapping[str, Any]], *, position: int = 1) -> None:
    """A commit of the view's log, at a position."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=log_schema(view))
    at_position = CommitProperties(app_transactions=[Transaction(view.reference, position)])
    write_deltalake(str(warehouse / view.log_path), table, mode="append", commit_properties=at_position)


def test_equal_versions_differ_in_nothing(compare: Compare) -> None:
    rows = {"a": [1.0, "x"], "b": [NAN, None], "c": [None, ""], "d": [-0.0, "é"], "e": [INF, "y"]}
    found = compare({"amount": DType.FLOAT64, "label": DType.STRING}, rows, rows, max_different=0.0, max_missing=0.0)
    assert (found.keys_first, found.keys_second, found.keys_both, found.events_different) == (5, 5, 5, 0)
    assert [(f.name, f.different, f.null_first, f.null_second) for f in found.features] == [
        ("amount", 0, 1, 1),
        ("label", 0, 1, 1),
    ]
    assert found.passed
    amount = found.features[0].first
    assert amount is not None
    assert (amount.mean, amount.stddev, amount.min, amount.max) == (0.5, math.sqrt(0.5), 0.0, 1.0)
    assert amount.quantiles == (-0.0, -0.0, -0.0, 1.0, 1.0)
    assert found.features[1].first is None


def test_differences_and_coverage_are_counted_and_told_past_their_limits(compare: Compare) -> None:
    first = {"a": [1.0], "b": [2.0], "c": [None], "d": [NAN], "only1": [7.0]}
    second = {"a": [1.0], "b": [2.5], "c": [3.0], "d": [None], "only2": [8.0], "only3": [9.0]}
    found = compare({"amount": DType.FLOAT64}, first, second, max_different=0.5, max_missing=0.1)
    assert (found.keys_first, found.keys_second, found.keys_both) == (5, 6, 4)
    assert (found.features[0].different, found.features[0].null_first, found.features[0].null_second) == (3, 1, 1)
    assert found.problems == (
        "20% of the keys of spend@1 are not in spend@2, more than 10%",
        "amount differs for 75% of the keys in both, more than 50%",
    )
    # The same logs again.
    assert compare({"amount": DType.FLOAT64}, {}, {}, max_different=0.75, max_missing=0.2).passed


def test_versions_without_a_key_in_common_are_not_called_equal(compare: Compare) -> None:
    nothing = compare({"amount": DType.FLOAT64}, {}, {"only2": [8.0]}, max_different=1.0, max_missing=1.0)
    assert nothing.problems == ("spend@1 and spend@2 have no key in common, so that nothing was compared",)


def test_floats_within_the_tolerance_are_equal_in_lists_too_and_nothing_is_near_infinity(compare: Compare) -> None:
    types = {"amount": DType.FLOAT64, "pair": DType.ARRAY(DType.FLOAT64), "exact": DType.DECIMAL(6, 2)}
    first = {
        "near": [100.0, [1.0, 100.0], Decimal("1.00")],
        "far": [100.0, [1.0, 100.0], Decimal("1.00")],
        "infinite": [INF, [INF], Decimal("1.00")],
        "nan": [NAN, [NAN], None],
        "null": [None, None, None],
        "longer": [0.0, [1.0], None],
    }
    second = {
        "near": [101.0, [1.0, 101.0], Decimal("1.01")],
        "far": [103.0, [1.0, 103.0], Decimal("1.00")],
        "infinite": [1.0, [1.0], Decimal("1.00")],
        "nan": [NAN, [NAN], None],
        "null": [1.0, [1.0], None],
        "longer": [-0.0, [1.0, 1.0], None],
    }
    found = compare(types, first, second, rtol=0.01)
    # amount: far, infinite, null. pair: far, infinite, null, longer. exact: near, which no tolerance is for.
    assert [f.different for f in found.features] == [3, 4, 1]


def test_features_that_one_version_lacks_or_has_of_another_type_are_named(compare: Compare) -> None:
    found = compare(
        {"kept": DType.INT64, "gone": DType.STRING, "turned": DType.INT32},
        {"a": [1, "x", 1]},
        {"a": [1, "1", "y"]},
        {"kept": DType.INT64, "turned": DType.STRING, "new": DType.STRING},
    )
    assert [f.name for f in found.features] == ["kept"]
    assert (found.only_first, found.only_second) == (("gone",), ("new",))
    assert found.other_types == ("turned: int32 -> string",)


def test_a_sample_is_of_the_same_keys_each_time(compare: Compare) -> None:
    rows = {f"customer {number}": [float(number)] for number in range(200)}
    found = compare({"amount": DType.FLOAT64}, rows, rows, sample=20)
    again = compare({"amount": DType.FLOAT64}, {}, {}, sample=20)
    assert (found.keys_first, found.keys_second, found.keys_both, found.sampled) == (20, 20, 20, True)
    assert found.features == again.features


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_keys_may_come_from_a_file(compare: Compare, tmp_path: Path, kind: str) -> None:
    rows = {"a": [1.0], "b": [2.0], "c": [3.0]}
    path = tmp_path / f"keys.{kind}"
    if kind == "csv":
        path.write_text("other,customer\n1,a\n2,b\n2,b\n3,unknown\n")
    else:
        pq.write_table(pa.table({"customer": ["a", "b", "b", "unknown"]}), path)
    found = compare({"amount": DType.FLOAT64}, rows, {"b": [9.0], "c": [9.0]}, keys=str(path))
    assert (found.keys_first, found.keys_second, found.keys_both, found.features[0].different) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("text", "told"), [("client\na\n", "lacks customer; it has client"), ('customer\n""\na\n', "1 rows hold a null")]
)
def test_a_file_without_usable_keys_is_told(compare: Compare, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "keys.csv"
    path.write_text(text)
    with pytest.raises(SpineError, match=told):
        compare({"amount": DType.FLOAT64}, {"a": [1.0]}, {"a": [1.0]}, keys=str(path))


def test_a_missing_file_of_keys_is_told(compare: Compare, tmp_path: Path) -> None:
    with pytest.raises(SpineError, match=r"--keys .*missing.parquet' cannot be read"):
        compare({"amount": DType.FLOAT64}, {"a": [1.0]}, {"a": [1.0]}, keys=str(tmp_path / "missing.parquet"))


def test_what_cannot_be_compared_is_told(spark: Any, tmp_path: Path) -> None:
    check = ParityCheck(spark=spark, warehouse=str(tmp_path))
    one, two = applied_view(), applied_view(version=2)
    other = applied_view(keys={"account": DType.INT64}, version=2)
    cases: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (UsageError, "compared with itself", lambda: check.compare(one, one)),
        (UsageError, "other join keys", lambda: check.compare(one, other)),
        (UsageError, "not both", lambda: check.compare(one, two, sample=1, keys="keys.csv")),
        (UsageError, "at least 1", lambda: check.compare(one, two, sample=0)),
        (UsageError, "are shares", lambda: check.compare(one, two, max_different=1.5)),
        (StorageError, "spend@1 was never built", lambda: check.compare(one, two)),
    ]
    for error, told, run in cases:
        with pytest.raises(error, match=told):
            run()


KEYS = ("a", "b")
cases = st.lists(st.tuples(logs(KEYS), logs(KEYS)), min_size=20, max_size=20)


@settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(cases)
def test_any_two_logs_compare_as_their_winners_do(
    spark: Any, tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[list[Row], list[Row]]]
) -> None:
    """Many small logs in one: each case has keys of its own."""
    warehouse = tmp_path_factory.mktemp("parity")
    views = [applied_view(version=1), applied_view(version=2)]
    winners: list[dict[str, Row]] = []
    for side, view in enumerate(views):
        rows, best = [], {}
        for number, pair in enumerate(pairs):
            rows += [_stored(row, f"{number} {row.key}") for row in pair[side]]
            for key in KEYS:
                if (row := online(pair[side], key)) is not None:
                    best[f"{number} {key}"] = row
        write(warehouse, view, rows, position=9)
        winners.append(best)
    first, second = winners
    both = first.keys() & second.keys()

    found = ParityCheck(spark=spark, warehouse=str(warehouse)).compare(*views)

    assert (found.keys_first, found.keys_second, found.keys_both) == (len(first), len(second), len(both))
    assert found.events_different == sum(first[key].event != second[key].event for key in both)
    assert found.features[0].different == sum(first[key].value != second[key].value for key in both)
    assert found.features[0].null_first == sum(row.value is None for row in first.values())


def _stored(row: Row, key: str) -> dict[str, Any]:
    def moment(number: int) -> Any:
        return NOON + timedelta(hours=number)

    stored = put(
        moment(row.event), moment(row.created), seq=1, interval=moment(row.interval), customer=key, amount=row.value
    )
    return {**stored, OP: "put" if row.is_put else "retract", "_seq": row.seq}
