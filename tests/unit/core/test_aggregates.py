"""What aggregate functions take and give."""

import pytest

from features.core.aggregates import AGGREGATES, check_arguments, output_dtype
from features.core.dtypes import DType
from features.errors import DefinitionError


@pytest.mark.parametrize(
    ("function", "dtype", "expected"),
    [
        ("count", None, DType.INT64),
        ("count", DType.VECTOR(3), DType.INT64),
        ("sum", DType.BOOL, DType.INT64),
        ("sum", DType.INT32, DType.INT64),
        ("sum", DType.FLOAT32, DType.FLOAT64),
        ("sum", DType.DECIMAL(9, 2), DType.DECIMAL(19, 2)),
        ("sum", DType.DECIMAL(36, 2), DType.DECIMAL(38, 2)),
        ("mean", DType.DECIMAL(9, 2), DType.FLOAT64),
        ("stddev", DType.INT64, DType.FLOAT64),
        ("max", DType.STRING, DType.STRING),
        ("last", DType.DECIMAL(9, 2), DType.DECIMAL(9, 2)),
        ("last_n", DType.DATE, DType.ARRAY(DType.DATE)),
        ("count_distinct", DType.BYTES, DType.INT64),
        ("percentile", DType.TIMESTAMP, DType.TIMESTAMP),
    ],
)
def test_the_type_of_an_answer(function: str, dtype: DType | None, expected: DType) -> None:
    assert output_dtype(function, dtype) == expected


@pytest.mark.parametrize(
    ("function", "dtype", "message"),
    [
        ("median", DType.FLOAT64, "no aggregate function 'median'; known: count, sum"),
        ("sum", None, "sum needs a column"),
        ("sum", DType.STRING, "sum does not take a column of string; it takes bool, decimal, float32"),
        ("last", DType.ARRAY(DType.INT32), "last does not take a column of array<int32>"),
    ],
)
def test_what_a_function_does_not_take_is_told(function: str, dtype: DType | None, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        output_dtype(function, dtype)


@pytest.mark.parametrize(
    ("function", "n", "q", "message"),
    [
        ("last_n", None, None, "last_n: needs argument n"),
        ("sum", 3, None, "sum: takes no argument n"),
        ("percentile", None, None, "percentile: needs argument q"),
        ("last_n", 0, None, "n must be a whole number between 1 and 1000"),
        ("last_n", True, None, "n must be a whole number"),
        ("percentile", None, 1.5, "q must be a number between 0 and 1"),
        ("percentile", None, float("nan"), "q must be a number between 0 and 1"),
        ("percentile", None, 1 / 3, "q must have at most 6 decimals"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(function: str, n: int | None, q: float | None, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        check_arguments(function, n=n, q=q)


def test_arguments_that_make_sense_pass() -> None:
    for name, function in AGGREGATES.items():
        check_arguments(name, n=1000 if function.argument == "n" else None, q=1 if function.argument == "q" else None)
