"""Calling an on-demand function: what comes back, of which types, and how a failure is told."""

import math
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import DType, Feature, RequestSource, on_demand
from features.core.arrow_types import arrow_type, to_arrow, to_python
from features.core.derive import check_platform, derive
from features.errors import PlatformError, TransformError
from tests.on_demand_values import every_row, same
from tests.on_demand_views import EVERY_DTYPE, passes_on_arrow, passes_on_pandas

X = RequestSource(name="x", schema={"x": DType.FLOAT64, "at": DType.TIMESTAMP, "n": DType.INT64})
TYPES = dict(X.schema)
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def run(function: Any, dtype: DType, rows: list[tuple[Any, ...]], mode: str = "pandas") -> list[Any]:
    """What a function makes of rows of x, at, n, as Python values of its one column, y."""
    view = on_demand(inputs=[X], returns=[Feature("y", dtype)], mode=mode, name="made")(function)
    columns = {name: to_arrow([row[p] for row in rows], t) for p, (name, t) in enumerate(TYPES.items())}
    return to_python(derive(view, columns, TYPES, len(rows))["y"], dtype)


ROWS = [(1.5, NOON, 1), (None, None, None), (math.nan, NOON.replace(hour=23), -2)]


@pytest.mark.parametrize("view", [passes_on_arrow, passes_on_pandas])
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(every_row(), min_size=1, max_size=6))
def test_every_value_of_every_type_survives_and_alone_as_in_a_batch(view: Any, rows: list[Mapping[str, Any]]) -> None:
    types = {f"{name}_in": dtype for name, dtype in EVERY_DTYPE.items()}

    def answers(held: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        columns = {f"{name}_in": to_arrow([row[name] for row in held], dtype) for name, dtype in EVERY_DTYPE.items()}
        found = derive(view, columns, types, len(held))
        lists = {name: to_python(found[f"{name}_out"], dtype) for name, dtype in EVERY_DTYPE.items()}
        return [{name: values[place] for name, values in lists.items()} for place in range(len(held))]

    together = answers(rows)
    assert all(same(got, row) for got, row in zip(together, rows, strict=True))
    assert all(same(answers([row])[0], got) for got, row in zip(together, rows, strict=True))


def test_a_null_is_no_nan_and_neither_changes_a_columns_type() -> None:
    seen: list[Any] = []

    def kinds(batch: Any) -> Any:
        seen.append({name: str(dtype) for name, dtype in batch.dtypes.items()})
        return batch.assign(y=batch["x"] * 2)

    got = run(kinds, DType.FLOAT64, ROWS)

    assert got[:2] == [3.0, None]
    assert math.isnan(got[2])
    assert run(kinds, DType.FLOAT64, ROWS[:1]) == [3.0]
    assert seen[0] == seen[1] == {"x": "double[pyarrow]", "at": "timestamp[us, tz=UTC][pyarrow]", "n": "int64[pyarrow]"}


@pytest.mark.parametrize(
    ("function", "dtype", "wanted"),
    [
        (lambda b: b.assign(y=b["at"].dt.hour), DType.INT64, [12, None, 23]),
        (lambda b: b.assign(y=(b["at"].dt.hour >= 22) & (b["n"] < 0)), DType.BOOL, [False, None, True]),
        (lambda b: b.assign(y=b["n"].isna()), DType.BOOL, [False, True, False]),
        (lambda b: b.assign(y=b["n"].astype("int32[pyarrow]")), DType.INT64, [1, None, -2]),
        (lambda b: b.assign(y=b["n"].astype("Int16")), DType.INT32, [1, None, -2]),
        (lambda b: b.assign(y=np.array([1, 2, 3], dtype="int8")), DType.INT64, [1, 2, 3]),
        (lambda b: b.assign(y=None), DType.STRING, [None] * 3),
        (lambda b: b.assign(y=[Decimal("1.5"), None, 3]), DType.DECIMAL(5, 2), [Decimal("1.5"), None, Decimal(3)]),
        (lambda b: b.assign(y=["a", None, pd.NA]), DType.STRING, ["a", None, None]),
        (lambda b: b.assign(y=pd.Series(["a", None, "b"], dtype="category")), DType.STRING, ["a", None, "b"]),
        (lambda b: b.assign(y=[[1.0], None, []]), DType.ARRAY(DType.FLOAT64), [[1.0], None, []]),
        (lambda b: b.assign(y=[np.array([1.0, 2.0]), None, (3, 4)]), DType.VECTOR(2), [[1.0, 2.0], None, [3.0, 4.0]]),
        (lambda b: b.assign(y=[date(2024, 1, 1), None, date(1, 1, 1)]), DType.DATE, [date(2024, 1, 1), None, date.min]),
        (lambda b: b.assign(y=b["at"].dt.tz_convert("Asia/Tokyo")), DType.TIMESTAMP, [row[1] for row in ROWS]),
        (lambda b: b.assign(y=b["at"].astype("datetime64[ns, UTC]")), DType.TIMESTAMP, [row[1] for row in ROWS]),
        (
            lambda b: b.assign(y=[NOON.astimezone(timezone(timedelta(hours=2))), None, None]),
            DType.TIMESTAMP,
            [NOON, None, None],
        ),
        (lambda b: b.assign(y=["x"] * 3, z=1, x=2.0), DType.STRING, ["x"] * 3),
    ],
)  # fmt: skip
def test_columns_of_any_kind_become_the_declared_type(function: Any, dtype: DType, wanted: list[Any]) -> None:
    assert run(function, dtype, ROWS) == wanted


def test_pandas_nullable_floats_keep_nan_and_null_apart() -> None:
    masked = pd.arrays.FloatingArray(np.array([1.0, np.nan, 2.0]), np.array([False, False, True]))

    got = run(lambda b: b.assign(y=masked), DType.FLOAT64, ROWS)

    assert (got[0], math.isnan(got[1]), got[2]) == (1.0, True, None)


def test_numpy_has_no_null_so_its_nan_is_a_value() -> None:
    got = run(lambda b: b.assign(y=np.array([1.0, np.nan, 2.0])), DType.FLOAT64, ROWS)

    assert math.isnan(got[1])


@pytest.mark.parametrize(
    "returned",
    [
        lambda b: pa.table({"y": pa.chunked_array([[1.5], [2.5], [None]])}),
        lambda b: pa.record_batch({"y": pa.array([1.5, 2.5, None], pa.float32())}),
        lambda b: b.append_column("y", pc.add(pc.fill_null(b["n"], 0).cast(pa.float64()), 0.5)).slice(0, 3),
    ],
)
def test_in_arrow_mode_a_table_or_a_batch_comes_back(returned: Any) -> None:
    assert run(returned, DType.FLOAT64, ROWS, mode="arrow")[0] == 1.5


@pytest.mark.parametrize(
    ("function", "dtype", "told"),
    [
        (lambda b: 1 / 0, DType.INT64, "ZeroDivisionError: division by zero"),
        (lambda b: sys.exit(3), DType.INT64, "SystemExit: 3"),
        (lambda b: b["nope"], DType.INT64, "KeyError: 'nope'"),
        (lambda b: None, DType.INT64, "it returned NoneType, not a DataFrame"),
        (lambda b: b["x"], DType.FLOAT64, "it returned Series, not a DataFrame"),
        (lambda b: b, DType.FLOAT64, "it returned no column 'y'; it returned 'x', 'at', 'n'"),
        (lambda b: pd.concat([b, b.set_axis(["y", "y", "z"], axis=1)], axis=1), DType.INT64, "several columns 'y'"),
        (lambda b: b.head(1), DType.INT64, "it returned 1 rows for 3"),
        (lambda b: b.sort_values("n").assign(y=1), DType.INT64, "in another order, or with another index"),
        (lambda b: b.assign(y=b["x"]), DType.INT64, "column 'y': it is double, declared as int64; cast it"),
        (lambda b: b.assign(y=b["n"]), DType.INT32, "it is int64, declared as int32; cast it"),
        (lambda b: b.assign(y=b["n"]), DType.FLOAT64, "it is int64, declared as float64; cast it"),
        (lambda b: b.assign(y=b["at"].dt.tz_localize(None)), DType.TIMESTAMP,
         "it is timestamp[us], declared as timestamp; give its times a zone"),
        (lambda b: b.assign(y=["1", 2, 3]), DType.INT64, "it holds a str, which is no int64"),
        (lambda b: b.assign(y=[True] * 3), DType.INT64, "it is bool, declared as int64"),
        (lambda b: b.assign(y=[Decimal("1.555")] * 3), DType.DECIMAL(5, 2), "data loss"),
        (lambda b: b.assign(y=[[1.0, 2.0]] * 3), DType.VECTOR(3), "it holds a list, which is no vector<3>"),
        (lambda b: b.assign(y=pd.Series([[1.0]] * 3, dtype=pd.ArrowDtype(pa.list_(pa.float32())))), DType.VECTOR(3),
         "holds 3 elements, got 1"),
        (lambda b: b.assign(y=pd.Series([["a", None]] * 3, dtype=pd.ArrowDtype(pa.list_(pa.string())))),
         DType.ARRAY(DType.STRING), "holds no null elements"),
        (lambda b: b.assign(y=pd.Series([3 * 10**17] * 3, dtype=pd.ArrowDtype(pa.timestamp("us", "UTC")))),
         DType.TIMESTAMP, "outside the years 1 to 9999"),
    ],
)  # fmt: skip
def test_what_is_not_declared_is_told_in_a_line(function: Any, dtype: DType, told: str) -> None:
    with pytest.raises(TransformError) as error:
        run(function, dtype, ROWS)

    assert str(error.value).startswith("on-demand feature view 'made' failed: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_frame_for_a_batch_is_told() -> None:
    with pytest.raises(TransformError, match="it returned DataFrame, not a RecordBatch or Table"):
        run(lambda b: b.to_pandas(), DType.INT64, ROWS, mode="arrow")


def test_without_rows_the_function_is_not_called() -> None:
    assert run(lambda b: 1 / 0, DType.VECTOR(2), []) == []


def test_every_type_has_an_arrow_type_that_lists_cannot_tell_by_a_name() -> None:
    assert arrow_type(DType.VECTOR(3)) == pa.list_(pa.float32())
    assert arrow_type(DType.ARRAY(DType.DECIMAL(3, 1))) == pa.list_(pa.decimal128(3, 1))


def test_what_is_missing_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    check_platform("arrow", owner="checks")
    with pytest.raises(
        PlatformError, match=r"checks computes with pyarrow and pandas, but pandas .* 'on-demand' extra"
    ):
        check_platform("pandas", owner="checks")
