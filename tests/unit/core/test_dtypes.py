from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import DType
from features.errors import DefinitionError

SCALARS = [
    DType.BOOL, DType.INT32, DType.INT64, DType.FLOAT32, DType.FLOAT64, DType.STRING, DType.BYTES, DType.DATE,
    DType.TIMESTAMP,
]  # fmt: skip


@st.composite
def decimals(draw: st.DrawFn) -> DType:
    precision = draw(st.integers(1, 38))
    return DType.DECIMAL(precision, draw(st.integers(0, precision)))


scalars = st.one_of(st.sampled_from(SCALARS), decimals())
dtypes = st.one_of(scalars, scalars.map(DType.ARRAY), st.integers(1, 8192).map(DType.VECTOR))


@settings(deadline=None)
@given(dtypes)
def test_a_type_is_read_back_from_its_text(dtype: DType) -> None:
    assert DType.parse(str(dtype)) == dtype


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INT32",
        "integer",
        "decimal",
        "decimal(5)",
        "array",
        "array<>",
        "array<array<int32>>",
        "vector<x>",
        "vector",
        "int32<int32>",
        "int32(1,1)",
        "decimal(39,0)",
        "vector<0>",
        "string ",
    ],
)
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError):
        DType.parse(text)


@pytest.mark.parametrize(
    ("precision", "scale"), [(0, 0), (39, 0), (5, 6), (5, -1), (5.0, 2), (5, "2"), (True, 0), (None, 0)]
)
def test_a_decimal_has_at_most_38_digits(precision: Any, scale: Any) -> None:
    with pytest.raises(DefinitionError, match=r"needs whole numbers, 1 <= precision <= 38 and 0 <= scale <= precision"):
        DType.DECIMAL(precision, scale)


@pytest.mark.parametrize("length", [0, -1, 8193, 2.0, "3", True])
def test_a_vector_has_between_1_and_8192_elements(length: Any) -> None:
    with pytest.raises(DefinitionError, match="the length must be a whole number between 1 and 8192"):
        DType.VECTOR(length)


@pytest.mark.parametrize("element", [DType.ARRAY(DType.INT32), DType.VECTOR(2), "int32", int])
def test_a_list_holds_scalars(element: Any) -> None:
    with pytest.raises(DefinitionError, match="elements must be of a scalar DType"):
        DType.ARRAY(element)


NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("dtype", "taken", "refused"),
    [
        (DType.BOOL, [True, False], [0, 1, "true"]),
        (DType.INT32, [-(2**31), 2**31 - 1], [-(2**31) - 1, 2**31, 1.0, True, "1"]),
        (DType.INT64, [-(2**63), 2**63 - 1], [-(2**63) - 1, 2**63, 1.0, False]),
        (DType.FLOAT32, [1.5, 1, float("nan"), float("inf")], [True, "1.5", Decimal(1)]),
        (DType.FLOAT64, [1.5, 1, -0.0], [True, "1.5", Decimal(1)]),
        (DType.DECIMAL(4, 2), [Decimal("1.25"), 3], [1.25, "1.25", True]),
        (DType.STRING, ["", "é"], [b"", 1]),
        (DType.BYTES, [b"", b"\x00"], ["", bytearray(b"a"), 1]),
        (DType.DATE, [date(2024, 1, 1)], [NOW, "2024-01-01", 1]),
        (DType.TIMESTAMP, [NOW], [NOW.replace(tzinfo=None), date(2024, 1, 1), 0, "2024-01-01"]),
        (DType.ARRAY(DType.INT32), [[], [1, 2], (3,)], [[2**31], [None], [1, "2"], 1, "12"]),
        (DType.VECTOR(2), [[1.0, 2], (0.5, -1.0)], [[1.0], [1.0, 2.0, 3.0], [1.0, None], [True, 1.0], "ab"]),
    ],
    ids=str,
)
def test_a_type_takes_its_own_values_alone(dtype: DType, taken: list[Any], refused: list[Any]) -> None:
    assert [v for v in taken if not dtype.accepts(v)] == []
    assert [v for v in refused if dtype.accepts(v)] == []


@pytest.mark.parametrize(
    ("dtype", "spark", "cql"),
    [
        (DType.FLOAT32, "float", "float"),
        # Cassandra's own timestamp holds milliseconds only.
        (DType.TIMESTAMP, "timestamp", "bigint"),
        (DType.DECIMAL(12, 2), "decimal(12,2)", "decimal"),
        (DType.ARRAY(DType.DECIMAL(3, 1)), "array<decimal(3,1)>", "frozen<list<decimal>>"),
        (DType.ARRAY(DType.TIMESTAMP), "array<timestamp>", "frozen<list<bigint>>"),
        (DType.VECTOR(384), "array<float>", "vector<float, 384>"),
    ],
    ids=str,
)
def test_each_store_has_its_words_for_a_type(dtype: DType, spark: str, cql: str) -> None:
    assert (dtype.spark, dtype.cql) == (spark, cql)
