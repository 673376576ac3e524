"""Carrying a plan out once: rows written by the tasks, summed up in the same pass, and what the driver learns of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from features.training.content_hash import RowSums, content_hash, named_types
from features.training.part_files import SUMMARY, RowSink, WrittenFile, read_summary
from features.training.row_plans import RowPlan, collect_tasks
from features.training.statistics import ColumnStatistics

if TYPE_CHECKING:
    from pyspark.sql.types import StructType


@dataclass(frozen=True, kw_only=True, slots=True)
class Extraction:
    """What one pass over the rows of a set found, and wrote.

    parts: by part of the split (None: rows of no part), its rows. files, spine_files: empty where nothing was written.
    """

    schema: pa.Schema
    rows: int
    content_hash: str
    spine_hash: str
    statistics: Mapping[str, ColumnStatistics]
    parts: Mapping[str | None, int]
    files: tuple[WrittenFile, ...] = ()
    spine_files: tuple[WrittenFile, ...] = ()


def extract(plan: RowPlan, sink: RowSink, *, doing: str) -> Extraction:
    """Hand all rows of a plan to a sink in the tasks; what they found, together. doing: what errors say that failed.

    Raises: StorageError: something cannot be read or written. FeatureStoreError: what a task raised on purpose.
    """
    answers = collect_tasks(plan.to_tasks(sink, SUMMARY), doing=doing)
    names = () if sink.splits is None else sink.splits.names
    statistics = [ColumnStatistics() for _ in sink.schema]
    spine, whole = RowSums(), RowSums()
    parts: dict[str | None, int] = dict.fromkeys(names, 0)
    files, spine_files = [], []
    for answer in answers:
        summary = read_summary(answer["summary"])
        name = names[answer["part"]] if answer["part"] >= 0 else None
        spine, whole = spine + summary.sums[0], whole + summary.sums[1]
        parts[name] = parts.get(name, 0) + answer["rows"]
        for mine, theirs in zip(statistics, summary.statistics, strict=True):
            mine.merge(theirs)
        if answer["file"] is not None:
            written = WrittenFile(path=answer["file"], rows=answer["rows"], bytes=answer["bytes"], part=name)
            files.append(written)
        if answer["spine_file"] is not None:
            spine_files.append(
                WrittenFile(path=answer["spine_file"], rows=answer["spine_rows"], bytes=answer["spine_bytes"])
            )
    if sink.folder is not None and not files:
        data, empty_spine = sink.write_empty()
        files, spine_files = [data], [empty_spine]
    return Extraction(
        schema=sink.schema,
        rows=whole.rows,
        content_hash=content_hash(sink.schema, whole),
        spine_hash=content_hash(sink.spine_schema, spine),
        statistics=dict(zip(sink.schema.names, statistics, strict=True)),
        parts=parts,
        files=tuple(sorted(files, key=lambda file: file.path)),
        spine_files=tuple(sorted(spine_files, key=lambda file: file.path)),
    )


def arrow_schema(schema: "StructType") -> pa.Schema:
    """A Spark schema in Arrow's types, times in UTC: what files of a set hold.

    Raises: UsageError: a column's type has no canonical form.
    """
    from pyspark.sql.pandas.types import to_arrow_schema

    found: pa.Schema = to_arrow_schema(schema, timezone="UTC")
    named_types(found)
    return found
