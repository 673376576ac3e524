"""Delta tables that change: as they were when an interval ended, or what their commits brought.

A commit's time is what Delta's history says: of the log's file, or in the commit itself where the table keeps those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.core.schedule import Interval
from features.core.sources import CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, BatchSource, TimedSource
from features.core.times import format_instant, from_micros, to_micros
from features.engine.sources.files import check_exists, declared
from features.engine.sources.opened import Check, Opened, unreadable
from features.errors import SourceError
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_HISTORY = 64
_DELETE = "delete"
_LENGTHEN = "lengthen delta.logRetentionDuration and delta.deletedFileRetentionDuration of the table"


@dataclass(frozen=True, slots=True)
class TableCommit:
    """One version of a Delta table, and when it was committed."""

    version: int
    at: datetime


def open_snapshot(spark: "SparkSession", source: BatchSource) -> Opened:
    """A table that is read as it was at the end of what is asked for; its columns are those of today."""
    return Opened(
        columns=_columns(spark, source),
        fetch=lambda _, until: _read_version(spark, source, find_version(spark, source, until)),
    )


def open_changes(spark: "SparkSession", source: BatchSource) -> Opened:
    """What the commits of a range inserted or updated, by the table's change data feed."""
    from pyspark.sql import functions as F

    def deletes() -> Sequence[Check]:
        if source.deletes != "refuse":
            return ()
        return (Check(condition=F.col(CHANGE_TYPE) == _DELETE, tell=lambda count, _: _refuse_deletes(source, count)),)

    return Opened(
        columns=_columns(spark, source),
        fetch=lambda since, until: _read_changes(spark, source, since, until),
        checks=deletes,
    )


def group_by_snapshot(
    spark: "SparkSession", sources: Sequence[TimedSource | object], intervals: Sequence[Interval]
) -> list[tuple[Interval, ...]]:
    """The intervals, neighbours together that see the same versions of all tables that are read as of their ends."""
    travelled = [s for s in sources if isinstance(s, BatchSource) and s.time_travel]
    if not travelled or len(intervals) == 1:
        return [tuple(intervals)]
    histories = [(source, _commits(spark, source, before=intervals[0].end)) for source in travelled]
    groups: list[list[Interval]] = []
    seen: list[int] = []
    for interval in intervals:
        versions = [_version_at(source, commits, interval.end) for source, commits in histories]
        if not groups or versions != seen:
            groups.append([])
        groups[-1].append(interval)
        seen = versions
    return [tuple(group) for group in groups]


def find_version(spark: "SparkSession", source: BatchSource, until: datetime) -> int:
    """The last version that was committed before a moment. Raises: SourceError: there is none, or no longer."""
    return _version_at(source, _commits(spark, source, before=until), until)


def _version_at(source: BatchSource, commits: Sequence[TableCommit], until: datetime) -> int:
    found = [commit.version for commit in commits if commit.at < until]
    if found:
        return found[-1]
    first = commits[0]
    when = f"source {source.name!r} at {source.path!r}: as of {format_instant(until)}"
    if first.version == 0:
        raise SourceError(
            f"{when} the table did not exist: its first commit is of {format_instant(first.at)}; build from then on, "
            "or leave time_travel out"
        )
    raise SourceError(
        f"{when} the table is no longer known: its log begins at version {first.version}, of "
        f"{format_instant(first.at)}; build from then on, and for what is to come {_LENGTHEN}"
    )


def _commits(spark: "SparkSession", source: BatchSource, *, before: datetime) -> list[TableCommit]:
    """The commits, oldest first: back to one before a moment, if the log still has one."""
    check_exists(source)
    limit = _HISTORY
    while True:
        try:
            rows = spark.sql(f"DESCRIBE HISTORY {_table(source)} LIMIT {limit}").selectExpr(
                "version", "unix_micros(timestamp) AS at"
            )
            found = sorted((row["version"], row["at"]) for row in rows.collect())
        except spark_errors() as exc:
            raise unreadable(source, exc) from exc
        commits = [TableCommit(version, from_micros(at)) for version, at in found]
        if len(commits) < limit or commits[0].at < before:
            return commits
        limit *= 8


def _read_version(spark: "SparkSession", source: BatchSource, version: int) -> "DataFrame":
    try:
        reader = spark.read.format("delta").options(**source.options).option("versionAsOf", version)
        return declared(reader.load(source.path), source)
    except spark_errors() as exc:
        raise SourceError(
            f"source {source.name!r} at {source.path!r}: version {version} can no longer be read: {first_line(exc)}; "
            f"build from a later interval on, and for what is to come {_LENGTHEN}"
        ) from exc


def _read_changes(spark: "SparkSession", source: BatchSource, since: datetime, until: datetime) -> "DataFrame":
    from pyspark.sql import functions as F

    commits = _commits(spark, source, before=since)
    if commits[0].version > 0 and commits[0].at >= since:
        raise SourceError(
            f"source {source.name!r} at {source.path!r}: the changes since {format_instant(since)} are no longer "
            f"known: its log begins at version {commits[0].version}, of {format_instant(commits[0].at)}; build from "
            f"then on, and for what is to come {_LENGTHEN}"
        )
    wanted = [commit for commit in commits if since <= commit.at < until]
    # Without a commit in the range, the columns are those of the last one.
    first, last = (wanted or commits[-1:])[0], (wanted or commits[-1:])[-1]
    try:
        frame = (
            spark.read.format("delta")
            .options(**source.options)
            .option("readChangeFeed", "true")
            .option("startingVersion", first.version)
            .option("endingVersion", last.version)
            .load(source.path)
        )
        kinds = [f"'{kind}'" for kind in ("insert", "update_postimage", *_delivered(source))]
        rows = frame.where(f"{CHANGE_TYPE} IN ({', '.join(kinds)})" if wanted else "false")
        # What the feed says of times depends on where it was begun, if a clock was put back between two commits.
        times = ", ".join(f"({c.version}L, timestamp_micros({to_micros(c.at)}L))" for c in wanted or [last])
        said = spark.sql(f"SELECT * FROM VALUES {times} AS t({COMMIT_VERSION}, {COMMIT_TIMESTAMP})")
        timed = rows.drop(COMMIT_TIMESTAMP).join(F.broadcast(said), COMMIT_VERSION)
    except spark_errors() as exc:
        raise unreadable(source, exc) from exc
    if source.schema is None:
        return timed
    kept = declared(timed.drop(*(c for c in _FEED if c not in source.schema)), source).columns
    return timed.select(*(F.col(f"`{c}`") for c in (*kept, *_FEED)))


_FEED = (CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP)


def _delivered(source: BatchSource) -> Sequence[str]:
    """Deletions, unless they are dropped: to be refused they have to be seen."""
    return () if source.deletes == "drop" else (_DELETE,)


def _refuse_deletes(source: BatchSource, count: int) -> SourceError:
    return SourceError(
        f"source {source.name!r}: {count} rows were deleted in the commits that are read; say what that means: "
        f'deletes="drop", or "deliver" to a transform that looks at {CHANGE_TYPE}'
    )


def _columns(spark: "SparkSession", source: BatchSource) -> dict[str, str]:
    check_exists(source)
    try:
        return dict(spark.read.format("delta").load(source.path).dtypes)
    except spark_errors() as exc:
        raise unreadable(source, exc) from exc


def _table(source: BatchSource) -> str:
    path = source.path if "://" in source.path else str(Path(source.path).absolute())
    return f"delta.`{path.replace('`', '``')}`"
