"""What an opened source offers to `read_source`, and what is asked of all its rows at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from features.core.sources import TimedSource
from features.errors import FeatureStoreError, SourceError
from features.stores.spark_errors import first_line, spark_errors

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_SAMPLE_CHARACTERS = 200
_CAUSES = 10
# What of an error tells its cause, what to say instead of it, if anything, and what to do.
_ADVICE = (
    ("CSV header does not conform", "a file's header differs from schema=", "name all columns of the files, in order"),
    ("UNABLE_TO_INFER_SCHEMA", "it holds no data", "land some, or declare schema= where there may be none"),
    (
        "DELTA_MISSING_CHANGE_DATA",
        "its change data feed was off in some of these commits",
        "ALTER TABLE ... SET TBLPROPERTIES (delta.enableChangeDataFeed = true), and build from the commit after it on",
    ),
    (
        "DELTA_CHANGE_DATA_FEED_INCOMPATIBLE",
        "its columns changed amid these commits",
        "build up to that commit, and from it on, in runs of their own",
    ),
    (
        "FILE_NOT_EXIST",
        "a file vanished while it was read",
        "run it again, or restore the file; of a Delta table's past, VACUUM may have removed it",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A condition that no row may meet. tell: the error, of how many do, and of the greatest sample of them."""

    condition: "Column"
    sample: "Column | None" = None
    tell: Callable[[int, str], FeatureStoreError]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A source, ready to be read.

    fetch: rows for [since, until): at least those that were available in it, and perhaps others.
    columns: as the source has them, column to Spark type; None: what is fetched tells.
    texts: columns beside the time fields whose ISO text stands for instants.
    corrupt: the column with the text of records that do not fit the schema, null in all others.
    checks: of what was fetched, beyond those of times.
    variants: the columns of the files that hold rows of [start, end), an entry for each set that occurs. Where they can
        be told, they and not `columns` say whether the source has changed. Asked before anything is fetched.
    """

    fetch: "Callable[[datetime, datetime], DataFrame]"
    columns: Mapping[str, str] | None = None
    texts: Sequence[str] = ()
    corrupt: str | None = None
    checks: Callable[[], Sequence[Check]] = lambda: ()
    variants: Callable[[datetime, datetime], Sequence[Mapping[str, str]]] = lambda start, end: ()


def judge(frame: "DataFrame", checks: Sequence[Check], source: TimedSource, *, whole: bool = False) -> None:
    """Ask all of it in one pass. Raises: what the first check that fails tells.

    Args: whole: parse every value, also those that no check looks at.
    """
    from pyspark.sql import functions as F

    if not checks:
        return
    asked = [F.count_if(check.condition).alias(f"n{i}") for i, check in enumerate(checks)]
    asked += [
        F.max(F.when(check.condition, check.sample.cast("string"))).alias(f"s{i}")
        for i, check in enumerate(checks)
        if check.sample is not None
    ]
    if whole:
        asked.append(F.max(F.xxhash64(*(F.col(quoted(c)) for c in frame.columns))).alias("all"))
    found = collect(frame.agg(*asked), source)
    for i, check in enumerate(checks):
        if count := found[f"n{i}"]:
            sample = found[f"s{i}"] if check.sample is not None else None
            raise check.tell(count, (sample or "")[:_SAMPLE_CHARACTERS])


def collect(frame: "DataFrame", source: TimedSource) -> Any:
    """The first row of a frame over a source. Raises: SourceError: it cannot be read."""
    try:
        return frame.first()
    except spark_errors() as exc:
        raise unreadable(source, exc) from exc


def unreadable(source: TimedSource, exc: BaseException) -> SourceError:
    """The error for what Spark says of a source."""
    said, hint = first_line(exc), ""
    causes = tell_causes(exc)
    for sign, better, advice in _ADVICE:
        if sign in causes:
            said, hint = better or said, f"; {advice}"
            break
    return SourceError(f"source {source.name!r} at {source.location!r} cannot be read: {said}{hint}")


def quoted(name: str) -> str:
    """A column's name as Spark SQL takes it, whatever it holds."""
    return f"`{name.replace('`', '``')}`"


def tell_causes(exc: BaseException) -> str:
    """What an error and its causes say, in Python and in the JVM, a line each or more."""
    told: list[str] = []
    cause: BaseException | None = exc
    while cause is not None and len(told) < _CAUSES:
        told.append(str(cause))
        cause = cause.__cause__ or getattr(cause, "_cause", None)
    return "\n".join(told)
