"""A full load of the views' tables, as SSTables: PORT JMX_PORT POSITION ENTITIES VIEWS FEATURES."""

import sys

from benchmarks.online.shape import EVENT_MICROS, Shape
from benchmarks.online.store import KEY, open_registry, settings
from features.config import SparkSettings
from features.engine.session import open_session
from features.materialization.load_tools import cassandra_java
from features.stores.base import DELETE, TTL_SECONDS
from features.stores.cassandra import CassandraStore
from features.stores.sstables.routes import BulkTools


def main() -> None:
    """Write every row of every view."""
    from pyspark.sql import functions as F

    port, jmx_port, position, entities, views, features = map(int, sys.argv[1:])
    shape = Shape(entities=entities, views=views, features=features)
    spark = open_session(SparkSettings(master="local[2]", driver_memory="2g"), app="online-load")
    tools = BulkTools(find_java=cassandra_java, jmx_ports=lambda: {"127.0.0.1": jmx_port})
    store = CassandraStore(settings(port), tools=tools)
    registry = open_registry(shape)
    for number, (name, columns) in enumerate(shape.columns.items()):
        view = registry.view(name)
        store.create(view)
        moment = F.timestamp_micros(F.lit(EVENT_MICROS))
        rows = spark.range(entities, numPartitions=8).select(
            F.col("id").alias(KEY),
            moment.alias("event_timestamp"),
            moment.alias("created_timestamp"),
            *((F.col("id") * 1000.0 + (number * 100 + at)).alias(column) for at, column in enumerate(columns)),
            F.lit(False).alias(DELETE),
            F.lit(None).cast("int").alias(TTL_SECONDS),
        )
        written = store.write(view, rows, position=position, path="sstable")
        if written.rows != entities:
            raise SystemExit(f"{name}: {written.rows} of {entities} rows were written")
        print(f"{name}: {written.rows} rows at position {position}", file=sys.stderr, flush=True)
    store.close()
    registry.close()
    spark.stop()


if __name__ == "__main__":
    main()
