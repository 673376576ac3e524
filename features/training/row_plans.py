"""How the rows of a set come to be: a plan that Spark carries out, as a frame or handed on inside the tasks."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from features import errors
from features.engine.arrow_tasks import map_in_arrow
from features.engine.as_of import Estimate
from features.errors import FeatureStoreError, StorageError
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, Row
    from pyspark.sql.types import StructType

    Then = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

_OURS = re.compile(r"^features\.errors\.(\w+): (.+)$", re.MULTILINE)


class RowPlan(Protocol):
    """Rows that are known how to compute. The join of `features.engine.as_of` is one."""

    def to_frame(self) -> "DataFrame":
        """The rows, in no particular order."""

    def to_tasks(self, then: "Then", schema: "str | StructType") -> "DataFrame":
        """What `then` makes of the rows inside the tasks, as Arrow batches; a frame of that schema."""

    def explain(self) -> list[str]:
        """How they are computed, in words."""

    def estimate(self) -> Estimate:
        """What is read at most."""


@dataclass(frozen=True)
class _Over:
    plan: RowPlan

    def explain(self) -> list[str]:
        """How they are computed, in words."""
        return self.plan.explain()

    def estimate(self) -> Estimate:
        """What is read at most."""
        return self.plan.estimate()


@dataclass(frozen=True)
class Stepped(_Over):
    """The rows of another plan after a step, inside the same tasks.

    step: of batches to batches. schema: of what it yields. names: the columns to keep of that, in order.
    """

    step: "Then"
    schema: "StructType"
    names: Sequence[str]

    def to_frame(self) -> "DataFrame":
        """The rows, in no particular order."""
        return _select(self.plan.to_tasks(self.step, self.schema), self.names)

    def to_tasks(self, then: "Then", schema: "str | StructType") -> "DataFrame":
        """What `then` makes of the rows inside the tasks."""
        return self.plan.to_tasks(_Chain((self.step, _Chosen(tuple(self.names)), then)), schema)


@dataclass(frozen=True)
class Ordered(_Over):
    """The rows of another plan, with these of its columns, in this order."""

    names: Sequence[str]

    def to_frame(self) -> "DataFrame":
        """The rows, in no particular order."""
        return _select(self.plan.to_frame(), self.names)

    def to_tasks(self, then: "Then", schema: "str | StructType") -> "DataFrame":
        """What `then` makes of the rows inside the tasks."""
        return self.plan.to_tasks(_Chain((_Chosen(tuple(self.names)), then)), schema)


@dataclass(frozen=True)
class FramePlan:
    """The rows of a Spark frame. told: how they are computed. figures: what is read at most."""

    frame: "DataFrame"
    told: Sequence[str]
    figures: Estimate

    def to_frame(self) -> "DataFrame":
        """The frame."""
        return self.frame

    def to_tasks(self, then: "Then", schema: "str | StructType") -> "DataFrame":
        """What `then` makes of the rows inside the tasks."""
        return map_in_arrow(self.frame, then, schema)

    def explain(self) -> list[str]:
        """How they are computed, in words."""
        return list(self.told)

    def estimate(self) -> Estimate:
        """What is read at most."""
        return self.figures


@dataclass(frozen=True)
class _Chosen:
    names: tuple[str, ...]

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        for batch in batches:
            yield batch.select(list(self.names))


@dataclass(frozen=True)
class _Chain:
    steps: "Sequence[Then]"

    def __call__(self, batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        for step in self.steps:
            batches = step(batches)
        return batches


def _select(frame: "DataFrame", names: Sequence[str]) -> "DataFrame":
    return frame.select(*(f"`{name}`" for name in names))


def collect_tasks(frame: "DataFrame", *, doing: str) -> "list[Row]":
    """All rows of a frame of a few, which the work of the tasks hangs on.

    Raises: FeatureStoreError: what a task raised on purpose; StorageError: what Spark says that went wrong.
    """
    try:
        return frame.collect()
    except spark_errors() as exc:
        raise task_error(exc, doing=doing) from exc


def to_table(frame: "DataFrame") -> "pa.Table":
    """All rows of a frame, here. Raises: FeatureStoreError: what a task raised on purpose; StorageError: else."""
    try:
        return frame.toArrow()
    except spark_errors() as exc:
        raise task_error(exc, doing="computing feature values") from exc


def task_error(exc: BaseException, *, doing: str) -> FeatureStoreError:
    """What a failed action of Spark means: an error that a task raised on purpose is raised as what it is."""
    for name, message in _OURS.findall(str(exc)):
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, FeatureStoreError):
            return kind(message)
    return StorageError(f"{doing} failed: {first_line(exc)}")
