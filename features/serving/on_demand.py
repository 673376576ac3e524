"""On-demand features online: the functions that were applied, called on what was read and on the entity rows.

The function, and the code around it, are those that compute training sets: features/core/derive.py.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.core.applied_on_demand import check_on_demand_code
from features.core.arrow_types import to_arrow, to_python
from features.core.derive import check_platform, derive
from features.core.discovery import Definitions
from features.core.dtypes import DType
from features.core.on_demand import OnDemandFeatureView
from features.core.request import CompiledRequest, Computed
from features.errors import TransformError

if TYPE_CHECKING:
    import pyarrow as pa


def find_functions(compiled: CompiledRequest, definitions: Definitions) -> tuple[OnDemandFeatureView, ...]:
    """The code of each on-demand view of a request.

    Raises: StaleCodeError: it is not what was applied; PlatformError: what it computes with is not installed here.
    """
    found = []
    for computed in compiled.computed:
        view = computed.view
        check_platform(view.mode, owner=f"on-demand feature view {view.name!r}")
        found.append(
            check_on_demand_code(
                definitions.on_demand.get(view.name),
                reference=view.reference,
                wanted_hash=view.definition_hash,
                pinned_inputs=view.pinned_inputs,
            )
        )
    return tuple(found)


def compute(
    computed: Computed, function: OnDemandFeatureView, columns: Mapping[str, Sequence[Any]], rows: int
) -> dict[str, list[Any]]:
    """The features of one on-demand view that are asked for, by their columns in the answer.

    Args:
        computed: what is asked for, and of which columns it is computed.
        function: the view's code.
        columns: by name: what was read, None unless PRESENT, and what the entity rows hold. Values are of their types.
        rows: how many entity rows there are.

    Raises: TransformError: the function raised, or returned something other than it declares.
    """
    types = computed.view.input_types
    inputs = {name: _array(computed, name, columns[computed.inputs[name]], dtype) for name, dtype in types.items()}
    found = derive(function, inputs, types, rows)
    return {
        column: to_python(found[feature], computed.view.feature(feature).dtype)
        for feature, column in computed.columns.items()
    }


def _array(computed: Computed, name: str, values: Sequence[Any], dtype: DType) -> "pa.Array":
    try:
        return to_arrow(values, dtype)
    except (TypeError, ValueError, OverflowError) as exc:  # Arrow's own are among these
        raise TransformError(
            f"on-demand feature view {computed.view.name!r} failed: input {name!r} is no {dtype}: {exc}"
        ) from exc
