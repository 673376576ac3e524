"""A function as a source: rows from anything that Spark has no reader for."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from features.core.sources import FunctionSource
from features.engine.sources.opened import Opened
from features.errors import FeatureStoreError, SourceError
from features.stores.spark_errors import first_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def open_function(spark: "SparkSession", source: FunctionSource) -> Opened:
    """What the function returns for a range; it is computed once, where it is asked for."""
    return Opened(fetch=lambda since, until: _call(spark, source, since, until))


def _call(spark: "SparkSession", source: FunctionSource, since: datetime, until: datetime) -> "DataFrame":
    from pyspark.sql import DataFrame

    try:
        found: Any = source.read(spark, since, until)
        if isinstance(found, DataFrame):
            # Once: what an API answers may be another thing the next time.
            return found.localCheckpoint(eager=True)
    except FeatureStoreError:
        raise
    except (Exception, SystemExit) as exc:  # boundary: an author's code may raise anything, and even exit
        raise SourceError(
            f"source {source.name!r}: {source.location} failed: {type(exc).__name__}: {first_line(exc)}"
        ) from exc
    raise SourceError(
        f"source {source.name!r}: {source.location} returned {type(found).__name__}; return a DataFrame of the rows "
        "that were available from start until before end"
    )
