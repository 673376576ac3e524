"""The Spark session of a job: Delta on, UTC, and started with what the environment's conf says."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from features.config import SparkSettings
from features.embedded.jars import install_delta_jars, install_jdbc_jars
from features.embedded.spark_conf import JVM_OPTIONS
from features.errors import PlatformError
from features.stores.delta import ROWS_PER_GROUP
from features.stores.log_state import ROW_GROUP_SETTING
from features.stores.spark_errors import first_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ALWAYS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    # Instants in files as instants in microseconds: Spark's default is an old type that other readers take for naive.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    ROW_GROUP_SETTING: str(ROWS_PER_GROUP),
    # Arrow on both sides of Python, in microseconds, without a silent slow path.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
}
_LOCAL = {
    # The defaults suit clusters: 50 tasks to read a log of a few files, 200 to shuffle a few rows.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    "spark.sql.shuffle.partitions": "4",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": JVM_OPTIONS,
}


def open_session(settings: SparkSettings, *, app: str) -> "SparkSession":
    """The running session, or a new one.

    Under spark-submit the JVM already runs, with its master, memory and jars; there only SQL settings apply.

    Raises: PlatformError: no JDK, or the JVM that runs has no Delta.
    """
    from pyspark import SparkContext
    from pyspark.errors import PySparkException, PySparkRuntimeError
    from pyspark.sql import SparkSession

    if settings.master is not None:
        # Workers on this machine run the Python that the driver runs, not the first one on PATH.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    under_submit = SparkContext._gateway is not None or _under_submit()
    if not under_submit:
        install_delta_jars()
        install_jdbc_jars()
    builder = SparkSession.builder.appName(app)
    local = settings.master is not None and settings.master.startswith("local")
    conf = {**_ALWAYS, **(_LOCAL if local else {}), "spark.driver.memory": settings.driver_memory, **settings.conf}
    if settings.master is not None and not under_submit:
        conf["spark.master"] = settings.master
    for key, value in conf.items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        jvm = session.sparkContext._jvm
        jvm.java.lang.Class.forName("io.delta.sql.DeltaSparkSessionExtension")  # type: ignore[union-attr]
    except (PySparkException, PySparkRuntimeError) as exc:
        raise PlatformError(f"Spark did not start: {exc}; is JAVA_HOME a JDK 17?") from exc
    except Exception as exc:  # boundary: py4j raises its own errors for what the JVM lacks
        if "ClassNotFoundException" not in str(exc):
            raise PlatformError(f"Spark did not start: {first_line(exc)}; see its master's log") from exc
        raise PlatformError("Spark runs without Delta; run `make setup`, or pass --packages") from exc
    return session


def _under_submit() -> bool:
    """Whether spark-submit started this process: it leaves the port of its JVM in the environment."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


@contextmanager
def persisted(frame: "DataFrame") -> "Iterator[DataFrame]":
    """The frame, computed once for all that is asked of it inside the block."""
    frame = frame.persist()
    try:
        yield frame
    finally:
        frame.unpersist()
