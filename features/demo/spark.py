"""The demo's own Spark: a session for one step at a time, whose words go into a file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.config import Settings
from features.store import FeatureStore

LOG = Path(".state/demo/spark.log")


@contextmanager
def spark_store(settings: Settings) -> Iterator[FeatureStore]:
    """A feature store whose Spark session ends with the block; the JVM waits for the next one, in this process."""
    with _stderr_in(LOG), FeatureStore(settings) as store:
        try:
            yield store
        finally:
            _stop_session()


@contextmanager
def _stderr_in(path: Path) -> Iterator[None]:
    """Sends stderr to a file inside the block, for this process; for a JVM that it starts there, to its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _stop_session() -> None:
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()
