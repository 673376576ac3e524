"""The floor and the spark-cassandra-connector: the same rows of the same Delta table, without looking for winners."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.load.shape import BASE, FOLDER, Shape, keyspace, read_node
from benchmarks.load.views import KEY, VIEW, define, types, warehouse
from benchmarks.places import scratch
from features import DType
from features.config import OnlineSettings, SparkSettings
from features.core.applied import AppliedView
from features.core.canonical import applied_view, view_definition, view_metadata
from features.engine.session import open_session
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_session import connect
from features.stores.log_state import CREATED, EVENT

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_CONNECTOR = "com.datastax.spark:spark-cassandra-connector_2.13:3.5.1"
_JARS = FOLDER / "connector-3.5.1"
# Spark has these itself.
_SHADOWED = ("scala-library", "scala-reflect", "slf4j-api", "commons-lang3", "metrics-core")
_COMPACTION_SECONDS = 300
_QUIET_TIMES = 3
# The optimizing compiler, as peers that work long in the JVM get it.
_JVM = "-Djava.net.preferIPv4Stack=true"


def install() -> str | None:
    """Get the connector's jars where they are missing; why that failed, or None."""
    if (_JARS / ".complete").exists():
        return None
    group, artifact, version = _CONNECTOR.split(":")
    with tempfile.TemporaryDirectory() as work:
        Path(work, "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>benchmarks</groupId><artifactId>load</artifactId>"
            f"<version>1</version><dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}"
            f"</artifactId><version>{version}</version></dependency></dependencies></project>"
        )
        command = ["mvn", "-B", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={_JARS.absolute()}"]
        try:
            done = subprocess.run(
                [*command, "-DincludeScope=runtime"], cwd=work, capture_output=True, text=True, check=False
            )
        except OSError as exc:
            return f"Maven does not run: {exc}"
    if done.returncode != 0:
        return f"its jars cannot be had: {done.stdout.strip().splitlines()[-1:]}"
    (_JARS / ".complete").touch()
    return None


def prepare(folder: str) -> None:
    """An empty table, as a load makes it."""
    name = keyspace(sys.argv[1], folder)
    drop_keyspace(name)
    if sys.argv[1] != "floor":
        store = CassandraStore(settings(name))
        store.create(applied(Shape.read(folder)))
        store.close()


def floor(folder: str, out: str) -> dict[str, Any]:
    """Spark reads the rows and hands them over as Arrow; they are counted there."""
    spark = open_session(_spark_settings({}), app="floor")
    counted = _rows(spark, folder).mapInArrow(_count, "rows bigint").collect()
    return {"rows": sum(row.rows for row in counted)}


def connector(folder: str, out: str) -> dict[str, Any]:
    """The connector writes the rows."""
    port, _ = read_node()
    jars = [str(jar) for jar in sorted(_JARS.absolute().glob("*.jar")) if not jar.name.startswith(_SHADOWED)]
    conf = {
        "spark.jars": ",".join(jars),
        "spark.cassandra.connection.host": "127.0.0.1",
        "spark.cassandra.connection.port": str(port),
        "spark.cassandra.output.consistency.level": "LOCAL_ONE",
        **TUNING,
    }
    spark = open_session(_spark_settings(conf), app="connector")
    name = keyspace(sys.argv[1], folder)
    rows = _rows(spark, folder)
    table = applied(Shape.read(folder)).online_table
    writer = rows.write.format("org.apache.spark.sql.cassandra").mode("append")
    writer.options(keyspace=name, table=table).save()
    return {"keyspace": name, "variant": BASE}


# Its defaults batch rows of one partition, of which there are none here, and keep 5 statements under way. So rows are
# batched for a replica, to about as many bytes as our own batches hold, with more of them under way; there is no
# throttle by default.
TUNING = {
    "spark.cassandra.output.batch.grouping.key": "replica_set",
    "spark.cassandra.output.batch.size.bytes": "32768",
    "spark.cassandra.output.concurrent.writes": "32",
    "spark.cassandra.output.batch.grouping.buffer.size": "1000",
}


def applied(shape: Shape) -> AppliedView:
    """The view as a registry would hold it."""
    view = define(shape)
    return applied_view(view_definition(view), view_metadata(view), version=1)


def settings(name: str) -> OnlineSettings:
    """How the keyspace is reached."""
    port, _ = read_node()
    return OnlineSettings(port=port, keyspace=name, consistency="LOCAL_ONE", timeout_seconds=60)


def drop_keyspace(name: str) -> None:
    """With all that it holds, if it is there."""
    session = connect(settings(name))
    try:
        session.execute(f"DROP KEYSPACE IF EXISTS {name}", timeout=60)
    finally:
        session.cluster.shutdown()


def await_compactions(name: str) -> None:
    """Until Cassandra has merged what was loaded into it: a load a day later does not compete with that."""
    session = connect(settings(name))
    try:
        quiet = 0
        deadline = time.monotonic() + _COMPACTION_SECONDS
        # It may not have begun yet.
        while quiet < _QUIET_TIMES and time.monotonic() < deadline:
            tasks = session.execute("SELECT task_id FROM system_views.sstable_tasks", timeout=60).one()
            quiet = 0 if tasks else quiet + 1
            time.sleep(1)
    finally:
        session.cluster.shutdown()


def _spark_settings(conf: dict[str, str]) -> SparkSettings:
    return SparkSettings(
        master="local[2]",
        driver_memory="4g",
        conf={"spark.local.dir": scratch(), "spark.driver.extraJavaOptions": _JVM, **conf},
    )


def _rows(spark: "SparkSession", folder: str) -> "DataFrame":
    """Keys, times and features, of the types that the table has."""
    from pyspark.sql import functions as F

    shape = Shape.read(folder)
    frame = spark.read.format("delta").load(f"{warehouse(folder, BASE)}/{VIEW}/v1")
    instants = [EVENT, CREATED, *(name for name, dtype in types(shape).items() if dtype == DType.TIMESTAMP)]
    names = [KEY, EVENT, CREATED, *types(shape)]
    return frame.select(*(F.unix_micros(name).alias(name) if name in instants else name for name in names))


def _count(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    yield pa.record_batch([pa.array([sum(batch.num_rows for batch in batches)])], names=["rows"])
