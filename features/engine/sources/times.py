"""Times of sources as instants, whatever zone the session, the JVM or the machine is in."""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import reduce
from typing import TYPE_CHECKING

from features.core.sources import BatchSource, TimedSource
from features.engine.sources.opened import Check, quoted
from features.errors import SourceError, TimeError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_OFFSET = r"\d{2}:\d{2}(:\d{2}(\.\d+)?)? *(Z|[+-]\d{2}(:?\d{2})?)$"
# Spark wants seconds, and a time where a zone is told.
_DAY_ALONE, _NO_SECONDS = r"^(\d{4}-\d{2}-\d{2})$", r"^(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2})(?!:)"
_NAIVE_KINDS = ("timestamp_ntz", "date")
_DAY_MICROS = 86_400_000_000


def instant(frame: "DataFrame", source: TimedSource, field: str) -> "tuple[Column, list[Check]]":
    """The column as a timestamp, and what has to hold for that.

    Raises: SourceError: it is of a type that holds no times; TimeError: of one that holds naive ones.
    """
    from pyspark.sql import functions as F

    kind = dict(frame.dtypes)[field]
    column = F.col(quoted(field))
    if kind == "timestamp":
        return column, []
    if kind not in (*_NAIVE_KINDS, "string"):
        hint = "timestamps, dates, or ISO text"
        raise SourceError(f"source {source.name!r}: column {field!r} is {kind}, its times must be {hint}")
    if kind != "string" and source.timezone is None:
        raise naive_times(source, field, kind)
    text = column.cast("string")
    text = F.regexp_replace(F.regexp_replace(F.trim(text), _DAY_ALONE, "$1 00:00:00"), _NO_SECONDS, "$1:00")
    naive = column.isNotNull() & ~text.rlike(_OFFSET)
    parsed = F.when(naive, F.concat_ws(" ", text, F.lit(source.timezone))).otherwise(text).try_cast("timestamp")
    if source.timezone is None:
        parsed = text.try_cast("timestamp")
    wrong = Check(
        condition=column.isNotNull() & parsed.isNull() & (F.lit(source.timezone is not None) | ~naive),
        sample=column,
        tell=lambda count, sample: SourceError(
            f"source {source.name!r}: {field!r} holds {sample!r}, which is no time ({count} rows hold none)"
        ),
    )
    if source.timezone is not None:
        return parsed, [wrong]
    return parsed, [Check(condition=naive, tell=lambda _, __: naive_times(source, field, kind)), wrong]


def naive_times(source: TimedSource, field: str, kind: str) -> TimeError:
    """The error for times without a zone."""
    return TimeError(
        f"source {source.name!r}: times in {field!r} are naive ({kind}); "
        'declare timezone="UTC" or the zone that they are in, or write them with an offset'
    )


def latest(times: "Sequence[Column]") -> "Column":
    """Of one time, or several, the later one."""
    from pyspark.sql import functions as F

    return F.greatest(*times) if len(times) > 1 else times[0]


def day_checks(source: TimedSource, times: "Sequence[Column]") -> Iterator[Check]:
    """That each row lies in the day on which it became available: runs read no other day for it, and would miss it.

    times: of the rows, as instants. One with a null time is dropped, wherever it lies, or refused.
    """
    from pyspark.sql import functions as F

    if not isinstance(source, BatchSource) or source.partition_field is None:
        return
    kept = F.col(quoted(source.partition_field)).cast("date")
    # By numbers: dates of times are those of the session's zone.
    micros = F.unix_micros(latest(times))
    days = (micros - F.pmod(micros, F.lit(_DAY_MICROS))) / _DAY_MICROS
    became = F.date_add(F.lit(date(1970, 1, 1)), days.cast("int"))
    field = source.partition_field
    yield Check(
        condition=reduce(lambda one, other: one & other, [time.isNotNull() for time in times], kept != became),
        sample=F.concat(kept.cast("string"), F.lit(" has rows of "), became.cast("string")),
        tell=lambda count, sample: SourceError(
            f"source {source.name!r}: {count} rows became available on another UTC day than {field!r} says ({sample}), "
            f"and runs of that day would miss them; land rows by that day, or leave out partition_field={field!r}"
        ),
    )


def null_checks(source: TimedSource) -> Iterator[Check]:
    """That no time is null, unless the source says to drop such rows."""
    from pyspark.sql import functions as F

    if source.null_timestamp == "drop":
        return
    for field in source.time_fields:

        def tell(count: int, _: str, field: str = field) -> TimeError:
            return TimeError(
                f"source {source.name!r}: {count} rows have a null {field!r}; "
                'repair them, or declare null_timestamp="drop" where such a row never comes true'
            )

        yield Check(condition=F.col(quoted(field)).isNull(), tell=tell)
