"""Golden rows: what passes, and how each way of failing is told."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from features import DType, Feature, GoldenRow, RequestSource, on_demand
from features.core.golden import check_golden
from features.errors import DefinitionError

X = RequestSource(name="x", schema={"x": DType.FLOAT64})
TYPES: Mapping[str, DType] = {"x": DType.FLOAT64}


def check(function: Any, *golden: tuple[Any, Any], dtype: DType = DType.FLOAT64) -> None:
    rows = [GoldenRow({"x": x}, {"y": y}) for x, y in golden]
    view = on_demand(inputs=[X], returns=[Feature("y", dtype)], golden=rows, name="made")(function)
    check_golden(view, TYPES)


def doubled(batch: Any) -> Any:
    return batch.assign(y=batch["x"] * 2)


def test_exact_answers_pass_nulls_and_nans_among_them() -> None:
    check(doubled, (1, 2), (None, None), (math.nan, math.nan), (math.inf, math.inf), (0.1, 0.2))
    check(lambda b: b.assign(y=b["x"].astype("float[pyarrow]")), (0.1, 0.1), dtype=DType.FLOAT32)
    check(lambda b: b.assign(y=[[None if v is None else "a"][:0] for v in b["x"]]), (1.0, []),
          dtype=DType.ARRAY(DType.STRING))  # fmt: skip


@pytest.mark.parametrize(
    ("golden", "told"),
    [
        ([(1.0, 2.0), (1.0, 3.0)], r"golden\[1\], column 'y': got 2.0, wanted 3.0"),
        ([(0.1, 0.30000000000000004)], r"golden\[0\], column 'y': got 0.2, wanted 0.30000000000000004"),
        ([(1.0, None)], "got 2.0, wanted None"),
        ([(None, 0.0)], "got None, wanted 0.0"),
        ([(math.nan, None)], "got nan, wanted None"),
        ([("1", 2.0)], r"golden\[0\], input 'x': '1' is no float64"),
        ([(1.0, "2")], r"golden\[0\], column 'y': '2' is no float64"),
        ([(2**53 + 1, 2.0)], r"golden\[0\], input 'x': Integer value 9007199254740993"),
    ],
)
def test_another_answer_is_told_with_row_column_got_and_wanted(golden: list[tuple[Any, Any]], told: str) -> None:
    with pytest.raises(DefinitionError, match=f"on-demand feature view 'made': .*{told}" if "golden" in told else told):
        check(doubled, *golden)


def test_an_answer_that_depends_on_other_rows_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"golden\[0\], column 'y': got 1.0 alone, but 2.0 beside other rows"):
        check(lambda b: b.assign(y=b["x"].fillna(0) * 0 + b["x"].count()), (5.0, 1.0), (6.0, 1.0))


def test_a_function_that_cannot_do_with_nulls_is_refused() -> None:
    def insists(batch: Any) -> Any:
        if batch["x"].isna().any():
            raise ValueError("unknown")
        return doubled(batch)

    with pytest.raises(DefinitionError, match="made' failed: ValueError: unknown; it was given a row of nulls"):
        check(insists)


def test_a_function_that_fails_is_refused_with_the_row() -> None:
    with pytest.raises(DefinitionError, match=r"it is int64, declared as float64; cast it; it was given golden\[0\]"):
        check(lambda b: b.assign(y=b["x"].astype("int64[pyarrow]")), (1.0, 1.0))
