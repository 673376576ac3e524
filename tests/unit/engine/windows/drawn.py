"""Sources to draw windows from, as the kernel takes them, and its answers against plain Python."""

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from features.core.aggregates import AGGREGATES
from features.core.arrow_types import arrow_type
from features.core.dtypes import DType
from features.engine.windows.arrays import Queries, Rows, WindowSpec
from features.engine.windows.kernel import aggregate
from tests.unit.engine.windows import naive
from tests.unit.engine.windows.naive import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLAIN_FLOATS = st.one_of(
    st.sampled_from([0.1, 0.2, 0.3, 1e16, -1e16, 1.0, 0.0, -0.0, 1e-17, 12.34]), st.integers(-50, 50).map(float)
)
WILD_FLOATS = st.one_of(
    PLAIN_FLOATS,
    st.sampled_from([1e300, -1e300, 1e-300, 5e-324, -5e-324, 1.7976931348623157e308, 1e100, math.pi * 1e40]),
    st.floats(allow_nan=False, allow_infinity=False),
)
ODD_FLOATS = st.one_of(PLAIN_FLOATS, st.sampled_from([math.nan, math.inf, -math.inf]))
VALUES: dict[str, tuple[DType, st.SearchStrategy[Any]]] = {
    "plain float64": (DType.FLOAT64, PLAIN_FLOATS),
    "near float64": (DType.FLOAT64, st.integers(-3, 3).map(lambda i: 1e9 + i * 2.0**-20)),
    "wild float64": (DType.FLOAT64, WILD_FLOATS),
    "huge float64": (DType.FLOAT64, st.sampled_from([1.7e308, -1.7e308, 1e308, 2.0**1000])),
    "odd float64": (DType.FLOAT64, ODD_FLOATS),
    "float32": (DType.FLOAT32, st.floats(width=32)),
    "bool": (DType.BOOL, st.booleans()),
    "int32": (DType.INT32, st.integers(-3, 3) | st.integers(-(2**31), 2**31 - 1)),
    "small int64": (DType.INT64, st.integers(-5, 5)),
    "large int64": (DType.INT64, st.integers(-(2**58), 2**58)),
    "decimal": (DType.DECIMAL(9, 2), st.integers(-(10**9) + 1, 10**9 - 1).map(lambda i: Decimal(i).scaleb(-2))),
    "wide decimal": (DType.DECIMAL(36, 3), st.integers(-(10**36) + 1, 10**36 - 1).map(lambda i: scaled(i, 3))),
    "string": (DType.STRING, st.sampled_from(["", "a", "ab", "b", "é", "zz", "\U0001f600"])),
    "bytes": (DType.BYTES, st.sampled_from([b"", b"\x00", b"\xff", b"a"])),
    "date": (DType.DATE, st.integers(-3, 3).map(lambda d: date(1970, 1, 1) + timedelta(days=d))),
    "timestamp": (DType.TIMESTAMP, st.integers(-(10**15), 10**15).map(lambda us: EPOCH + timedelta(microseconds=us))),
}
WIDTHS = (1, 3, 10, 1000)


def scaled(digits: int, places: int) -> Decimal:
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -places))


@st.composite
def sources(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> list[Row]:
    """Few keys and few moments, so that rows meet; some late, some much later, some null, some filtered out."""
    keys = st.sampled_from([0, 0, 0, 7, 9])
    moments = st.integers(0, 25)
    lateness = st.sampled_from([0, 0, 0, 0, 1, 2, 8, 40])
    nullable = st.one_of(values, values, values, st.none())
    drawn = draw(st.lists(st.tuples(keys, moments, lateness, nullable, st.integers(0, 3)), max_size=40))
    return [Row(key, at, at + late, value, chance > 0) for key, at, late, value, chance in drawn]


def rows_of(source: Sequence[Row], dtype: DType) -> Rows:
    """The source as the kernel takes it; the sort is stable, so that ties stay as they were given."""
    ordered = sorted(source, key=lambda row: (row.key, row.event, row.available))
    return Rows(
        keys=np.array([row.key for row in ordered], dtype=np.int64),
        event=np.array([row.event for row in ordered], dtype=np.int64),
        available=np.array([row.available for row in ordered], dtype=np.int64),
        columns={"value": pa.array([row.value for row in ordered], arrow_type(dtype))},
        filters={"counts": np.array([row.counts for row in ordered], dtype=np.bool_)},
    )


def ticks_of(source: Sequence[Row], times: Sequence[int]) -> Queries:
    """Every tick for every key of the source and for two without rows."""
    keys = sorted({3, 11, *(row.key for row in source)})
    points = [(key, time) for key in keys for time in sorted(times)]
    key_array, time_array = np.array(points, dtype=np.int64).reshape(-1, 2).T
    return Queries.at_ticks(keys=key_array.copy(), time=time_array.copy())


def specs_of(dtype: DType, where: str | None) -> list[WindowSpec]:
    specs = []
    for name, function in AGGREGATES.items():
        if dtype.kind in function.takes:
            n, q = (3 if function.argument == "n" else None), (0.3 if function.argument == "q" else None)
            spec = WindowSpec(function=name, width_us=1, column="value", dtype=dtype, where=where, n=n, q=q)
            specs += [replace(spec, width_us=width) for width in WIDTHS]
    return specs


def check(source: Sequence[Row], queries: Queries, rows: Rows, specs: Sequence[WindowSpec]) -> None:
    answers = [answer.to_pylist() for answer in aggregate(rows, queries, specs)]
    everywhere = [replace(row, counts=True) for row in source]
    points = zip(queries.keys.tolist(), queries.time.tolist(), queries.visible.tolist(), strict=True)
    for place, (key, time, visible) in enumerate(points):
        windows = {
            (width, where): naive.window(
                source if where else everywhere, key, time=time, visible=visible, width=width, closed=queries.closed
            )
            for width, where in {(spec.width_us, spec.where) for spec in specs}
        }
        for spec, found in zip(specs, answers, strict=True):
            values = windows[spec.width_us, spec.where]
            expected = naive.answer(spec.function, values, n=spec.n, q=spec.q)
            assert same(found[place], expected, spec), (spec.function, spec.width_us, (key, time, visible), values)


def same(value: Any, expected: Any, spec: WindowSpec) -> bool:
    """Equal to the bit, where -0.0 counts as 0.0; what takes a root or divides a decimal may be rounded twice."""
    if value is None or expected is None:
        return value is expected
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(partial(same, spec=spec), value, expected))
    if isinstance(expected, float):
        if spec.function == "stddev" or (spec.function == "mean" and spec.dtype and spec.dtype.kind == "decimal"):
            return math.isclose(value, expected, rel_tol=4e-16, abs_tol=5e-324) or bits(value) == bits(expected)
        return bits(value) == bits(expected)
    return bool(value == expected and type(value) is type(expected))


def bits(value: float) -> bytes:
    return struct.pack("<d", math.nan if math.isnan(value) else value + 0.0)


def raw(array: pa.Array) -> list[Any]:
    """Values by their bits."""
    return [struct.pack("<d", v) if isinstance(v, float) else repr(v) for v in array.to_pylist()]
