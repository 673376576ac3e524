"""On-demand features in training sets: computed inside the tasks, of what the as-of join found and of the spine.

The function, and the code around it, are those that answer online: features/core/derive.py.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.core.applied_on_demand import check_on_demand_code
from features.core.arrow_columns import conform
from features.core.derive import check_platform, derive
from features.core.discovery import Definitions, discover
from features.core.dtypes import DType
from features.core.on_demand import OnDemandFeatureView
from features.core.request import CompiledRequest, Computed
from features.errors import ConfigError, NotFoundError, SpineError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

# Spark types that a request column may have, beside its own: they become it without loss.
_WIDER = {
    "int": ("tinyint", "smallint"),
    "bigint": ("tinyint", "smallint", "int"),
    "double": ("float",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one on-demand view adds, as plain values.

    inputs: for each column that the function sees, in order: its name, the batch's column, and the type. columns: for
        each feature that is asked for: its name, and its column in the answer.
    """

    view: str
    reference: str
    definition_hash: str
    pinned_inputs: tuple[str, ...]
    inputs: tuple[tuple[str, str, str], ...]
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Derivation:
    """How a joined batch becomes the answer: on-demand columns are added, hidden inputs dropped, the answer ordered.

    Plain values, so that it travels to executors; these import the views package, which on a cluster is on their
    PYTHONPATH, and hold its code against what was applied.

    package: the views package. folder: where this machine has it, for executors that share its disk. read: the columns
    that the join read. answer: the answer's columns and their types, in the order asked.
    """

    package: str
    folder: str | None
    steps: tuple[Step, ...]
    read: tuple[str, ...]
    answer: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, compiled: CompiledRequest, definitions: Definitions, *, package: str) -> "Derivation":
        """The derivation of a request.

        Args:
            compiled: of `compile_request`.
            definitions: what the views package defines here.
            package: the views package's name, for executors.

        Raises: StaleCodeError: the code here is not what was applied; PlatformError: what it computes with is missing.
        """
        steps = tuple(_step(computed) for computed in compiled.computed)
        for step, computed in zip(steps, compiled.computed, strict=True):
            check_platform(computed.view.mode, owner=f"on-demand feature view {step.view!r}")
            _checked(definitions.on_demand.get(step.view), step)
        return cls(
            package=package,
            folder=_folder_of(package) if steps else None,
            steps=steps,
            read=compiled.read_columns,
            answer=tuple((name, str(dtype)) for name, dtype in compiled.types.items()),
        )

    @property
    def is_needed(self) -> bool:
        """Whether anything is computed; if not, `apply` only orders the answer."""
        return bool(self.steps)

    def apply(self, batch: "pa.RecordBatch") -> "pa.RecordBatch":
        """The answer: all columns that the join did not read, in their order, then the features in the order asked.

        Args:
            batch: the spine's columns, and those of all selections; others (such as statuses) stay.

        Raises:
            TransformError: a function failed; SpineError: a request column holds another type; StaleCodeError: the
                views package here is not what was applied; ConfigError: it is not on PYTHONPATH here.
        """
        import pyarrow as pa

        found = {name: batch.column(name) for name in batch.schema.names}
        for step in self.steps:
            types = {name: DType.parse(dtype) for name, _, dtype in step.inputs}
            inputs = {name: _input(found[column], name, types[name]) for name, column, _ in step.inputs}
            features = derive(self._code(step), inputs, types, batch.num_rows)
            found.update({column: features[name] for name, column in step.columns})
        computed = {column for step in self.steps for _, column in step.columns}
        kept = [name for name in batch.schema.names if name not in {*self.read, *computed}]
        names = [*kept, *(name for name, _ in self.answer)]
        return pa.RecordBatch.from_arrays([found[name] for name in names], names=names)

    def batches(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        """`apply`, batch by batch: what `JoinPlan.to_tasks` and `mapInArrow` take."""
        return map(self.apply, batches)

    def schema(self, joined: "StructType") -> "StructType":
        """The Spark schema of the answer, of the schema of what was joined."""
        from pyspark.sql.types import DataType, StructField, StructType

        kept = [field for field in joined.fields if field.name not in self.read]
        added = [StructField(name, DataType.fromDDL(DType.parse(t).spark)) for name, t in self.answer]
        return StructType([*kept, *added])

    def _code(self, step: Step) -> OnDemandFeatureView:
        return _load(self.package, self.folder, step)


def check_request_columns(kinds: Mapping[str, str], compiled: CompiledRequest) -> None:
    """That a spine holds the request columns, of types that fit.

    Args:
        kinds: the spine's columns, and their types in Spark's words (`dict(frame.dtypes)`).
        compiled: of `compile_request`.

    Raises: SpineError: one is missing, or of another type.
    """
    for name, dtype in compiled.request_columns.items():
        if name not in kinds:
            readers = ", ".join(c.view.name for c in compiled.computed if name in c.view.request_columns)
            missing = NotFoundError.of("column", name, kinds, hint="it has no columns")
            raise SpineError(f"entity_df: {missing}; {readers} reads it of the request, as {dtype}")
        kind = kinds[name]
        # A column of nulls alone has no type of its own.
        if kind not in (dtype.spark, "void", *_WIDER.get(dtype.spark, ())):
            raise SpineError(f"entity_df: request column {name!r} is {kind}, but must be {dtype.spark}; cast it")


def _step(computed: Computed) -> Step:
    view = computed.view
    return Step(
        view=view.name,
        reference=view.reference,
        definition_hash=view.definition_hash,
        pinned_inputs=view.pinned_inputs,
        inputs=tuple((name, computed.inputs[name], str(dtype)) for name, dtype in view.input_types.items()),
        columns=tuple(computed.columns.items()),
    )


def _checked(code: OnDemandFeatureView | None, step: Step) -> OnDemandFeatureView:
    return check_on_demand_code(
        code, reference=step.reference, wanted_hash=step.definition_hash, pinned_inputs=step.pinned_inputs
    )


# A worker lives for many batches, and imports once.
@lru_cache(maxsize=256)
def _load(package: str, folder: str | None, step: Step) -> OnDemandFeatureView:
    try:
        definitions = discover(package)
    except ConfigError:
        if folder is None or folder in sys.path or not Path(folder).is_dir():
            raise
        # A local executor is a process of its own, without what the driver added to its path.
        sys.path.append(folder)
        importlib.invalidate_caches()
        definitions = discover(package)
    return _checked(definitions.on_demand.get(step.view), step)


def _folder_of(package: str) -> str | None:
    """The folder that has to be on the path for the package to be imported; None: it is in an archive."""
    top = sys.modules.get(package.partition(".")[0])
    file: Any = getattr(top, "__file__", None)
    if file is None:
        return None
    path = Path(file).absolute()
    return str(path.parents[1] if path.stem == "__init__" else path.parent)


def _input(column: "pa.Array", name: str, dtype: DType) -> "pa.Array":
    try:
        return conform(column, dtype)
    except (TypeError, ValueError) as exc:  # Arrow's own are among these
        raise SpineError(f"entity_df: column {name!r}, which a function reads: {exc}") from exc
