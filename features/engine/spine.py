"""The spine: the rows to enrich, as a Spark, pandas or Arrow frame or a path, checked and brought to Spark.

Of a local frame only join keys, times and a row number travel: its own columns are never converted, so they come back
untouched, in order, with their index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.core.dtypes import DType
from features.engine.as_of.survey import Survey, survey_frame
from features.errors import NotFoundError, SpineError
from features.stores.log_state import EVENT
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

ROW = "_row_number"
# What Arrow raises of values that it cannot hold; its own errors are among these.
_UNLIKE_ARROW = (TypeError, ValueError, NotImplementedError, OverflowError)
_WIDER = {"int": ("tinyint", "smallint"), "bigint": ("tinyint", "smallint", "int")}


@dataclass(frozen=True, kw_only=True)
class Spine:
    """Rows to enrich.

    frame: in Spark: all columns of a Spark frame or path; of a local frame, keys, event_timestamp and the row number.
    survey: how many rows it has, over what time, and where its keys lie.
    local: the pandas or Arrow frame that it came from, or None.
    """

    frame: "DataFrame"
    survey: Survey
    local: Any = None

    @property
    def is_local(self) -> bool:
        """Whether it came as a pandas or Arrow frame."""
        return self.local is not None


def read_spine(
    spark: "SparkSession", entity_df: Any, *, keys: Mapping[str, DType], columns: Sequence[str] = ()
) -> Spine:
    """The spine of any kind of frame, with keys of their declared types.

    Args:
        entity_df: a Spark, pandas or Arrow frame, or the path of a Parquet file or folder, or of a Delta table.
        keys: the join keys that the request needs.
        columns: names that the features will have, which the spine must not hold.

    Raises: SpineError: a key or event_timestamp is missing, naive, null or of another type, a name clashes, or the
        frame is of an unknown kind.
    """
    from pyspark.sql import DataFrame

    local = None
    if isinstance(entity_df, str | Path):
        frame = _read_path(spark, str(entity_df))
        _check_names(frame.columns, keys, columns)
    elif isinstance(entity_df, DataFrame):
        frame = entity_df
        _check_names(frame.columns, keys, columns)
    else:
        local = _local(entity_df)
        _check_names(local_names(local), keys, columns)
        frame = _to_spark(spark, _narrow(_to_arrow(local, [*keys, EVENT]), keys))
    frame = _typed(frame, keys)
    survey = _survey(frame, keys)
    if survey.null_times:
        raise SpineError(f"entity_df holds {survey.null_times} rows whose {EVENT} is null; drop or repair them")
    return Spine(frame=frame, survey=survey, local=local)


def _survey(frame: "DataFrame", keys: Mapping[str, DType]) -> Survey:
    try:
        return survey_frame(frame, keys)
    except spark_errors() as exc:
        raise SpineError(f"entity_df cannot be read: {first_line(exc)}") from exc


def full_frame(
    spark: "SparkSession", spine: Spine, keys: Mapping[str, DType], *, names: Sequence[str] | None = None
) -> "DataFrame":
    """The spine in Spark, in types that Spark has.

    Args:
        names: of a local frame's columns that are wanted, keys and event_timestamp aside; those it lacks are left out.
            None: all of them. A frame that is Spark's own is given whole.

    Raises: SpineError: a column holds what Spark has no type for.
    """
    if not spine.is_local:
        return spine.frame
    own = local_names(spine.local)
    wanted = own if names is None else [name for name in dict.fromkeys((*keys, EVENT, *names)) if name in own]
    return _typed(_to_spark(spark, _to_arrow(spine.local, wanted)), keys)


def local_table(local: "pd.DataFrame | pa.Table") -> "pa.Table":
    """A local frame as an Arrow table. Raises: SpineError: a column holds what Arrow has no type for."""
    import pyarrow as pa

    if isinstance(local, pa.Table):
        return local
    for name, (_, column) in zip(local_names(local), local.items(), strict=True):
        _check_aware(name, column)
    try:
        return pa.Table.from_pandas(local, preserve_index=False)
    except _UNLIKE_ARROW as exc:
        raise SpineError(f"entity_df: {first_line(exc)}; to_pandas() leaves such columns alone") from exc


def local_names(local: Any) -> list[str]:
    """The column names of a pandas or Arrow frame."""
    names = local.column_names if hasattr(local, "column_names") else list(local.columns)
    return [str(name) for name in names]


def _read_path(spark: "SparkSession", path: str) -> "DataFrame":
    if "://" not in path and not Path(path).exists():
        raise SpineError(f"entity_df: nothing at {str(Path(path).absolute())!r}")
    try:
        kind = "delta" if _is_delta(spark, path) else "parquet"
        return spark.read.format(kind).load(path)
    except spark_errors() as exc:
        raise SpineError(f"entity_df: {path!r} cannot be read: {first_line(exc)}") from exc


def _is_delta(spark: "SparkSession", path: str) -> bool:
    """Whether a Delta table lies there: as Parquet it would give rows that were deleted or replaced, too."""
    if "://" not in path:
        return (Path(path) / "_delta_log").is_dir()
    # Whatever Spark will read from, its Hadoop can look into.
    jvm: Any = spark._jvm
    log = jvm.org.apache.hadoop.fs.Path(f"{path.rstrip('/')}/_delta_log")
    configuration: Any = spark._jsc.hadoopConfiguration()
    return bool(log.getFileSystem(configuration).exists(log))


def _local(entity_df: Any) -> "pd.DataFrame | pa.Table":
    import pandas as pd
    import pyarrow as pa

    if isinstance(entity_df, pa.RecordBatch):
        return pa.Table.from_batches([entity_df])
    if not isinstance(entity_df, pd.DataFrame | pa.Table):
        kind = type(entity_df).__name__
        raise SpineError(f"entity_df must be a Spark, pandas or Arrow frame or a path, got {kind}")
    return entity_df


def _to_arrow(local: "pd.DataFrame | pa.Table", names: Sequence[str]) -> "pa.Table":
    """Some columns of a frame, whose names are told apart."""
    import pyarrow as pa

    if isinstance(local, pa.Table):
        return local.select(list(names))
    places = {name: place for place, name in enumerate(local_names(local))}
    columns = {}
    for name in dict.fromkeys(names):
        column = local.iloc[:, places[name]]
        _check_aware(name, column)
        try:
            columns[name] = pa.array(column, from_pandas=True)
        except _UNLIKE_ARROW as exc:
            raise SpineError(f"entity_df: {name!r}: {first_line(exc)}; give it values of one type") from exc
    return pa.table(columns)


def _check_aware(name: str, column: "pd.Series[Any]") -> None:
    """Of a column of Python's datetimes Arrow takes the naive ones to be UTC, where others have a zone."""
    if column.dtype != object:
        return
    zones = [value.tzinfo for value in column if isinstance(value, datetime) and value == value]
    naive = zones.count(None)
    if naive and (naive < len(zones) or name == EVENT):
        raise SpineError(f"entity_df holds {naive} rows whose {name} is naive; give them a zone, such as UTC")


def _to_spark(spark: "SparkSession", table: "pa.Table") -> "DataFrame":
    import pyarrow as pa

    try:
        return spark.createDataFrame(_in_utc(table))
    except (*spark_errors(), pa.ArrowException) as exc:
        raise SpineError(f"entity_df holds a type that Spark has not: {first_line(exc)}; cast the column") from exc


def _in_utc(table: "pa.Table") -> "pa.Table":
    """The same instants in UTC: nanoseconds are cut by the clock of their zone, which in autumn shows an hour twice."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            table = table.set_column(place, field.name, table[place].cast(pa.timestamp(field.type.unit, "UTC")))
    return table


def _narrow(table: "pa.Table", keys: Mapping[str, DType]) -> "pa.Table":
    """Keys and times in types that Spark takes, with the row's number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {}
    for name in dict.fromkeys([*keys, EVENT]):
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_timestamp(column.type):
            if column.type.tz is None:
                raise SpineError(f"entity_df: {name!r} is naive; give its times a zone, such as UTC")
            column = column.cast(pa.timestamp(column.type.unit, "UTC"))
            # A spine's nanoseconds are cut: between two microseconds nothing becomes known.
            whole = column if column.type.unit != "ns" else pc.floor_temporal(column, unit="microsecond")
            try:
                column = whole.cast(pa.timestamp("us", tz="UTC"))
            except pa.ArrowInvalid as exc:
                raise SpineError(f"entity_df: {name!r} holds a time beyond all calendars: {exc}; repair it") from exc
        if pa.types.is_null(column.type):
            column = column.cast(pa.string() if name != EVENT else pa.timestamp("us", tz="UTC"))
        columns[name] = column
    columns[ROW] = pa.chunked_array([pa.array(range(table.num_rows), pa.int64())])
    return pa.table(columns)


def _check_names(names: Sequence[str], keys: Mapping[str, DType], columns: Sequence[str]) -> None:
    for name in (*keys, EVENT):
        if name not in names:
            missing = NotFoundError.of("column", name, names, hint="it has no columns")
            raise SpineError(f"entity_df: {missing}; it needs the join keys {', '.join(keys)} and {EVENT}")
    seen: dict[str, str] = {}
    for name in names:
        if "`" in name:
            raise SpineError(f"entity_df: column {name!r} holds a backtick, by which Spark quotes names; rename it")
        # Spark reads names without regard to case.
        if (other := seen.setdefault(name.lower(), name)) != name or list(names).count(name) > 1:
            also = "" if other == name else f" and {other!r}, which are one to Spark"
            raise SpineError(f"entity_df holds two columns named {name!r}{also}; rename one")
    for name in columns:
        if name.lower() in seen:
            other = seen[name.lower()]
            feature = "as a feature is named" if other == name else f"one to Spark with the feature {name!r}"
            raise SpineError(
                f"entity_df holds a column {other!r}, {feature}; rename it or pass full_feature_names=True"
            )


def _typed(frame: "DataFrame", keys: Mapping[str, DType]) -> "DataFrame":
    kinds = dict(frame.dtypes)
    if kinds[EVENT] != "timestamp":
        why = "naive; give its times a zone, such as UTC" if kinds[EVENT] in ("timestamp_ntz", "date") else kinds[EVENT]
        raise SpineError(f"entity_df: {EVENT} is {why}, it must hold instants")
    for key, dtype in keys.items():
        kind = kinds[key]
        if kind == dtype.spark:
            continue
        # An empty or all-null column has no type of its own, and matches nothing whatever it becomes.
        if kind not in _WIDER.get(dtype.spark, ()) and not _is_empty(frame, key):
            raise SpineError(f"entity_df: join key {key!r} is {kind}, but the views have {dtype.spark}; cast it")
        frame = frame.withColumn(key, frame[key].try_cast(dtype.spark))
    return frame


def _is_empty(frame: "DataFrame", key: str) -> bool:
    return frame.where(frame[key].isNotNull()).isEmpty()
