"""Functions of Arrow batches, run in Spark's tasks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    Batches = Iterator[pa.RecordBatch]


def map_in_arrow(
    frame: "DataFrame", function: "Callable[[Batches], Batches]", schema: "str | StructType"
) -> "DataFrame":
    """`frame.mapInArrow` for columns of any name: Spark's own takes a dot in one for a path into a struct."""
    names = tuple(frame.columns)
    plain = frame.toDF(*(f"_{place}" for place in range(len(names))))
    return plain.mapInArrow(_Renamed(names, function), schema)


@dataclass(frozen=True, slots=True)
class _Renamed:
    """Gives the columns their names back before the function sees them."""

    names: tuple[str, ...]
    function: "Callable[[Batches], Batches]"

    def __call__(self, batches: "Batches") -> "Batches":
        return self.function(batch.rename_columns(list(self.names)) for batch in batches)
