"""Calling an on-demand function: one batch in, its features out, of the declared types, or an error that says why not.

The one place that calls it, online and in training: what is the same here is the same everywhere.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from features.core.arrow_columns import array_of, conform
from features.core.arrow_types import arrow_type
from features.core.dtypes import DType
from features.core.on_demand import OnDemandFeatureView
from features.errors import FeatureStoreError, PlatformError, TransformError

if TYPE_CHECKING:
    import pyarrow as pa


def check_platform(mode: str, *, owner: str) -> None:
    """That what a mode needs is installed. Raises: PlatformError: says which extra brings it."""
    needed = ("pyarrow", "pandas") if mode == "pandas" else ("pyarrow",)
    missing = [name for name in needed if not _imports(name)]
    if missing:
        raise PlatformError(
            f"{owner} computes with {' and '.join(needed)}, but {' and '.join(missing)} is not installed here; "
            "install the 'on-demand' extra: pip install 'feature-platform[on-demand]'"
        )


def _imports(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def derive(
    view: OnDemandFeatureView, inputs: "Mapping[str, pa.Array]", types: Mapping[str, DType], rows: int
) -> "dict[str, pa.Array]":
    """The features of a batch, by name.

    Args:
        view: whose function is called, unless there are no rows.
        inputs: a column for each input, `rows` long, of the Arrow type of its DType.
        types: the inputs' types, in the order in which the function sees them.
        rows: how many.

    Raises: TransformError: the function raised, or returned something other than it declares.
    """
    import pyarrow as pa

    if not rows:
        return {f.name: pa.array([], type=arrow_type(f.dtype)) for f in view.features}
    schema = pa.schema([(name, arrow_type(dtype)) for name, dtype in types.items()])
    batch = pa.RecordBatch.from_arrays([inputs[name] for name in types], schema=schema)
    returned = _call(view, batch)
    return {f.name: _feature(view, returned, f.name, f.dtype) for f in view.features}


def _call(view: OnDemandFeatureView, batch: "pa.RecordBatch") -> Any:
    """What the function returned: a DataFrame, RecordBatch or Table with as many rows, in their order."""
    given, kinds = _given(view, batch)
    try:
        returned: Any = view.function(given)
    except FeatureStoreError:
        raise
    except (Exception, SystemExit) as exc:  # boundary: an author's code may raise anything, and even exit
        raise _failure(view, f"{type(exc).__name__}: {_first_line(exc)}") from exc
    if not isinstance(returned, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise _failure(view, f"it returned {type(returned).__name__}, not a {wanted}")
    if returned.shape[0] != batch.num_rows:
        raise _failure(view, f"it returned {returned.shape[0]} rows for {batch.num_rows}; each row in is one row out")
    if view.mode == "pandas" and not returned.index.equals(_index(batch)):
        raise _failure(view, "it returned rows in another order, or with another index; keep the batch's index")
    return returned


def _given(view: OnDemandFeatureView, batch: "pa.RecordBatch") -> tuple[Any, Any]:
    """The batch as the function wants it, and what it may return."""
    if view.mode == "pandas":
        import pandas as pd

        # Arrow's dtypes do not depend on whether a batch holds a null: NumPy's turn int64 into float64, bool to object.
        return batch.to_pandas(types_mapper=pd.ArrowDtype), (pd.DataFrame,)
    import pyarrow as pa

    return batch, (pa.RecordBatch, pa.Table)


def _index(batch: "pa.RecordBatch") -> Any:
    import pandas as pd

    return pd.RangeIndex(batch.num_rows)


def _feature(view: OnDemandFeatureView, returned: Any, name: str, dtype: DType) -> "pa.Array":
    names = [str(n) for n in returned.columns] if view.mode == "pandas" else list(returned.schema.names)
    if names.count(name) != 1:
        how = "no column" if name not in names else "several columns"
        raise _failure(view, f"it returned {how} {name!r}; it returned {', '.join(map(repr, names)) or 'none'}")
    try:
        return conform(array_of(returned[name], dtype), dtype)
    except (TypeError, ValueError, OverflowError, ArithmeticError) as exc:  # Arrow's own are among these
        raise _failure(view, f"column {name!r}: {_first_line(exc)}") from exc


def _first_line(exc: BaseException) -> str:
    return next((line for line in str(exc).splitlines() if line.strip()), "without a word")


def _failure(view: OnDemandFeatureView, why: str) -> TransformError:
    return TransformError(f"on-demand feature view {view.name!r} failed: {why}")
