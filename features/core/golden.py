"""Golden rows: that an on-demand function makes of them what they say, of each alone and of all in one batch."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.core.arrow_types import to_arrow, to_python
from features.core.derive import check_platform, derive
from features.core.dtypes import DType
from features.core.on_demand import OnDemandFeatureView
from features.errors import DefinitionError, TransformError

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]


def check_golden(view: OnDemandFeatureView, types: Mapping[str, DType]) -> None:
    """That the function answers its golden rows exactly, and each row by itself.

    A row of nulls is tried beside them, since any input may be missing: a key that was never seen has no row.

    Args:
        view: its function and golden rows.
        types: the types of its inputs, in order.

    Raises:
        DefinitionError: it raised, returned something other than it declares, gave another answer, or made a row's
            answer depend on the rows beside it.
        PlatformError: what it computes with is not installed here.
    """
    me = f"on-demand feature view {view.name!r}"
    check_platform(view.mode, owner=me)
    rows: list[tuple[str, Row]] = [(f"golden[{n}]", golden.inputs) for n, golden in enumerate(view.golden)]
    rows.append(("a row of nulls", dict.fromkeys(types)))
    inputs = {
        name: [_typed(row[name], dtype, f"{me}: {where}, input {name!r}") for where, row in rows]
        for name, dtype in types.items()
    }
    alone = [
        _answer(view, types, {name: arrays[place : place + 1] for name, arrays in inputs.items()}, where)[0]
        for place, (where, _) in enumerate(rows)
    ]
    together = _answer(view, types, inputs, "all golden rows and one of nulls")
    for (where, _), got, beside in zip(rows, alone, together, strict=True):
        for name, value in got.items():
            if not _same(value, beside[name]):
                raise DefinitionError(
                    f"{me}: {where}, column {name!r}: got {value!r} alone, but {beside[name]!r} beside other rows; a "
                    "row's answer must come of that row"
                )
    for number, (golden, got) in enumerate(zip(view.golden, alone, strict=False)):
        for feature in view.features:
            where = f"{me}: golden[{number}], column {feature.name!r}"
            wanted = to_python(_typed(golden.outputs[feature.name], feature.dtype, where), feature.dtype)[0]
            if not _same(got[feature.name], wanted):
                raise DefinitionError(f"{where}: got {got[feature.name]!r}, wanted {wanted!r}")


def _answer(
    view: OnDemandFeatureView, types: Mapping[str, DType], inputs: "Mapping[str, Sequence[pa.Array]]", where: str
) -> list[Row]:
    """What the function makes of a batch of rows, each input an array of one value for each row."""
    import pyarrow as pa

    rows = len(next(iter(inputs.values())))
    try:
        found = derive(view, {name: pa.concat_arrays(arrays) for name, arrays in inputs.items()}, types, rows)
    except TransformError as exc:
        raise DefinitionError(f"{exc}; it was given {where}") from exc
    columns = [to_python(found[f.name], f.dtype) for f in view.features]
    return [dict(zip((f.name for f in view.features), row, strict=True)) for row in zip(*columns, strict=True)]


def _typed(value: Any, dtype: DType, where: str) -> "pa.Array":
    if value is not None and not dtype.accepts(value):
        raise DefinitionError(f"{where}: {value!r} is no {dtype}")
    try:
        return to_arrow([value], dtype)
    except (TypeError, ValueError, OverflowError) as exc:  # Arrow's own are among these
        raise DefinitionError(f"{where}: {exc}") from exc


def _same(left: Any, right: Any) -> bool:
    """Whether two values of one type are the same; a NaN is the same as another."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right and type(left) is type(right))
