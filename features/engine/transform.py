"""Running a transform, and bringing what it returns into the log's form, with each row in its interval."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.core.definitions import FeatureView, ViewSpec
from features.core.dtypes import DType
from features.core.schedule import Interval
from features.core.times import format_instant, from_micros
from features.errors import DuplicateRowsError, FeatureStoreError, NotFoundError, SourceError, TransformError
from features.stores.delta import micros_literal
from features.stores.log_state import AVAILABLE, CREATED, EVENT, INTERVAL
from features.stores.spark_errors import first_line, is_unreadable_file, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# Spark types that become another without loss.
_WIDENS = {
    "smallint": {"tinyint"},
    "int": {"tinyint", "smallint"},
    "bigint": {"tinyint", "smallint", "int"},
    "double": {"float"},
}
_SAMPLE = 3


def run_transform(view: FeatureView, frames: Mapping[str, "DataFrame"]) -> "DataFrame":
    """What the view's transform makes of its sources, one frame each, by name; without one, the rows of its source.

    Returns: join keys, event_timestamp, available_timestamp, created_timestamp (null: the run's) and the features that
        are not aggregated, of the declared types; where there are aggregations, also all other columns as they are.

    Raises: TransformError: it raised, returned no DataFrame, columns are missing or of other types, or the condition of
        an aggregation is none.
    """
    from pyspark.sql import functions as F

    result = _source_rows(view, frames) if view.transform is None else _call(view, frames)
    wanted = {**view.join_keys, EVENT: DType.TIMESTAMP, **{f.name: f.dtype for f in view.own_features}}
    columns = [_column(view, result, name, dtype) for name, dtype in wanted.items()]
    if AVAILABLE in result.columns:
        columns.append(_column(view, result, AVAILABLE, DType.TIMESTAMP))
    elif view.has_created_source:
        raise _failure(view, f"it returned no {AVAILABLE}, which a source with a created_timestamp_field requires")
    else:
        columns.append(_column(view, result, EVENT, DType.TIMESTAMP).alias(AVAILABLE))
    if CREATED in result.columns:
        if view.values_at == "tick":
            raise _failure(view, f'it returned {CREATED}, which no tick could take; drop it, or use values_at="event"')
        columns.append(_column(view, result, CREATED, DType.TIMESTAMP))
    elif view.is_imported:
        raise _failure(view, f'it returned no {CREATED}, which available="source" keeps')
    else:
        columns.append(F.lit(None).cast("timestamp").alias(CREATED))
    if view.aggregations:
        _check_aggregated(view, result)
        columns += [F.col(_quoted(name)) for name in result.columns if name not in {*wanted, AVAILABLE, CREATED}]
    return result.select(*columns)


def _call(view: FeatureView, frames: Mapping[str, "DataFrame"]) -> "DataFrame":
    from pyspark.sql import DataFrame

    if view.transform is None:
        raise _failure(view, "it has none")
    accepted = inspect.signature(view.transform).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    unknown = [name for name in frames if name not in accepted and not takes_any]
    if unknown:
        raise _failure(view, f"it takes {', '.join(accepted) or 'nothing'}, but a source is named {unknown[0]!r}")
    try:
        result = view.transform(**frames)
    except FeatureStoreError:
        raise
    except (Exception, SystemExit) as exc:  # boundary: an author's code may raise anything, and even exit
        raise _failure(view, f"{type(exc).__name__}: {first_line(exc)}") from exc
    if not isinstance(result, DataFrame):
        raise _failure(view, f"it returned {type(result).__name__}, not a DataFrame")
    return result


def _source_rows(view: FeatureView, frames: Mapping[str, "DataFrame"]) -> "DataFrame":
    """The rows of the only source as event rows. Its created time is told by their available time."""
    from pyspark.sql import functions as F

    (source,) = view.sources
    return frames[source.name].withColumn(EVENT, F.col(_quoted(source.timestamp_field))).drop(CREATED)


def _check_aggregated(view: FeatureView, frame: "DataFrame") -> None:
    from pyspark.errors import AnalysisException
    from pyspark.sql import functions as F

    for aggregation in view.aggregations:
        if aggregation.column is not None and aggregation.dtype is not None:
            _column(view, frame, aggregation.column, aggregation.dtype)
        if aggregation.where is None:
            continue
        try:
            kind = frame.select(F.expr(aggregation.where).alias("where")).dtypes[0][1]
        except AnalysisException as exc:
            raise _failure(view, f"where={aggregation.where!r} cannot be judged: {first_line(exc)}") from exc
        if kind != "boolean":
            raise _failure(view, f"where={aggregation.where!r} is {kind}; write a condition, which is true or false")


def assign_intervals(rows: "DataFrame", intervals: Sequence[Interval]) -> "DataFrame":
    """The rows with `_interval`, the end of the interval that holds their available_timestamp.

    Rows before the first interval, the history that a transform needed, are dropped; rows at or after the last one's
    end stay, with a null `_interval`, for `collapse` to refuse.
    """
    from pyspark.sql import functions as F

    first, last = intervals[0], intervals[-1]

    def choose(within: Sequence[Interval]) -> "Column":
        # A balanced tree: one row is compared log2(n) times, however many intervals the range has.
        if len(within) == 1:
            return micros_literal(within[0].end)
        middle = len(within) // 2
        before = F.col(AVAILABLE) < micros_literal(within[middle].start)
        return F.when(before, choose(within[:middle])).otherwise(choose(within[middle:]))

    inside = F.col(AVAILABLE) < micros_literal(last.end)
    kept = rows.where(F.col(AVAILABLE).isNull() | (F.col(AVAILABLE) >= micros_literal(first.start)))
    return kept.withColumn(INTERVAL, F.when(inside, choose(intervals)))


def collapse(rows: "DataFrame", view: ViewSpec) -> "DataFrame":
    """One row for each (key, event, interval): of a late duplicate the newest, of identical rows one.

    An imported log keeps a row for each created time. Adds `_copies` and `_alike`, which `check_rows` judges.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    identity = [*view.join_keys, EVENT, INTERVAL, *([CREATED] if view.is_imported else [])]
    if view.has_created_source and not view.is_imported:
        newest = F.max(AVAILABLE).over(Window.partitionBy(*identity))
        rows = rows.withColumn("_newest", newest).where(F.col(AVAILABLE).eqNullSafe(F.col("_newest"))).drop("_newest")
    carried = [c for c in (*(f.name for f in view.features), CREATED, AVAILABLE) if c not in identity]
    packed = F.struct(*carried)
    compared = F.struct(*(c for c in carried if c != AVAILABLE))
    grouped = rows.groupBy(*identity).agg(
        F.max(packed).alias("_row"),
        F.count(F.lit(1)).alias("_copies"),
        F.min(compared).eqNullSafe(F.max(compared)).alias("_alike"),
    )
    return grouped.select(*identity, *(F.col(f"_row.{c}").alias(c) for c in carried), "_copies", "_alike")


def check_rows(rows: "DataFrame", view: ViewSpec, name: str) -> int:
    """How many rows there are; the first action that a run takes, so what a transform hides comes to light here.

    Args:
        rows: collapsed, and persisted by the caller.
        view: of it; name: how messages call it.

    Raises:
        TransformError: an event or available time is null, an event lies after its interval's end, or rows are
            available at or after the end of the range.
        DuplicateRowsError: two different rows of one key and time.
    """
    from pyspark.sql import functions as F

    clash = (F.col("_copies") > 1) & ~F.col("_alike")
    found = collect_one(
        rows.select(
            F.count(F.lit(1)).alias("rows"),
            F.count_if(F.col(EVENT).isNull()).alias("null_events"),
            F.count_if(F.col(AVAILABLE).isNull()).alias("null_available"),
            F.count_if(F.col(INTERVAL).isNull() & F.col(AVAILABLE).isNotNull()).alias("late"),
            F.count_if(F.col(EVENT) > F.col(INTERVAL)).alias("ahead"),
            F.count_if(clash).alias("clashes"),
            F.count_if(F.col(CREATED).isNull()).alias("null_created"),
            F.count_if(_beyond_years(rows, view)).alias("beyond"),
        ),
        name,
    )
    if found["null_events"] or found["null_available"]:
        column = EVENT if found["null_events"] else AVAILABLE
        count = found["null_events"] or found["null_available"]
        raise TransformError(f"transform of {name!r} returned {count} rows with a null {column}; filter or repair them")
    if found["beyond"]:
        raise TransformError(
            f"transform of {name!r} returned {found['beyond']} rows with a time outside the years 1 to 9999, "
            f"such as {_sample(rows.where(_beyond_years(rows, view)), view, timed=False)}"
        )
    if found["late"]:
        raise TransformError(
            f"transform of {name!r} returned {found['late']} rows available at or after the end of the range; "
            f"a row that is computed at a tick passes on the greatest {AVAILABLE} of what it was computed from"
        )
    if found["ahead"]:
        sample = _sample(rows.where(F.col(EVENT) > F.col(INTERVAL)), view)
        raise TransformError(
            f"transform of {name!r} returned {found['ahead']} rows whose {EVENT} lies after the end of their interval, "
            f"such as {sample}: a value cannot be known before it is true"
        )
    if found["clashes"]:
        raise DuplicateRowsError(
            f"transform of {name!r} returned {found['clashes']} times different rows of one key and time, "
            f"such as {_sample(rows.where(clash), view)}; keep one of them, or add what tells them apart to the key"
        )
    if view.is_imported and found["null_created"]:
        raise TransformError(f"transform of {name!r} returned {found['null_created']} rows with a null {CREATED}")
    return int(found["rows"])


def collect_one(frame: "DataFrame", name: str) -> Any:
    """The single row of an aggregate over a transform's output.

    Raises: SourceError: a file is damaged; TransformError: the transform failed while it ran.
    """
    try:
        return frame.first()
    except spark_errors() as exc:
        if is_unreadable_file(exc):
            raise SourceError(f"a source of {name!r} cannot be read: {first_line(exc)}") from exc
        raise TransformError(f"transform of {name!r} failed: {first_line(exc)}") from exc


def _beyond_years(rows: "DataFrame", view: ViewSpec) -> "Column":
    """Whether a time of a row is one that Python, and so most readers, cannot hold."""
    from pyspark.sql import functions as F

    beyond = F.lit(False)
    for name, kind in rows.select(*view.join_keys, EVENT, *(f.name for f in view.features)).dtypes:
        if kind in ("timestamp", "date"):
            beyond = beyond | ~F.coalesce(F.year(f"`{name}`").between(1, 9999), F.lit(True))
    return beyond


def _column(view: FeatureView, frame: "DataFrame", name: str, dtype: DType) -> "Column":
    from pyspark.sql import functions as F

    if name not in frame.columns:
        missing = NotFoundError.of("column", name, frame.columns)
        raise _failure(view, f"{missing}; it must return join keys, {EVENT} and every feature")
    alike = [column for column in frame.columns if column.lower() == name.lower()]
    if len(alike) > 1:
        # Spark tells them apart by position alone.
        raise _failure(view, f"it returned {' and '.join(map(repr, alike))}, columns of one name to Spark; keep one")
    kind = dict(frame.dtypes)[name]
    if kind != dtype.spark and not _widens(kind, dtype):
        raise _failure(view, f"column {name!r} is {kind}, but {dtype} ({dtype.spark}) is declared; cast it")
    return F.col(_quoted(name)).cast(dtype.spark).alias(name)


def _widens(kind: str, dtype: DType) -> bool:
    if dtype.kind == "decimal" and kind.startswith("decimal("):
        other = DType.parse(kind)
        return other.scale <= dtype.scale and other.precision - other.scale <= dtype.precision - dtype.scale
    return kind == "void" or kind in _WIDENS.get(dtype.spark, ())


def _sample(rows: "DataFrame", view: ViewSpec, *, timed: bool = True) -> str:
    from pyspark.sql import functions as F

    # As text and microseconds: Python would show a timestamp in the zone of this machine.
    keys = [F.col(f"`{key}`").cast("string").alias(key) for key in view.join_keys]
    found = rows.select(*keys, F.unix_micros(EVENT).alias(EVENT)).limit(_SAMPLE).collect()
    shown = [(", ".join(f"{key}={row[key]!r}" for key in view.join_keys), row[EVENT]) for row in found]
    return "; ".join(f"{keys} at {format_instant(from_micros(event))}" if timed else keys for keys, event in shown)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _failure(view: FeatureView, why: str) -> TransformError:
    return TransformError(f"transform of {view.name!r} failed: {why}")
