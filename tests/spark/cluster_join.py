"""Run in a process of its own: one join on a cluster, its rows written to a file. See test_standalone_cluster.py."""

import sys
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq

from features import DType, Entity, Feature
from features.config import SparkSettings
from features.engine.as_of import AsOf, plan_join
from features.engine.session import open_session
from features.engine.spine import read_spine
from tests.builders import apply_view, make_view
from tests.logs import pin_log

VIEW = apply_view(
    make_view(
        entities=[Entity(name="customer", join_keys={"customer": DType.INT64})],
        features=[Feature(f"f{n}", DType.FLOAT64) for n in range(20)],
        lookback=timedelta(days=3),
    )
)


def main(master: str, folder: Path) -> None:
    """Join `folder`/spine with the log in `folder`/warehouse on the cluster, into `folder`/joined.parquet."""
    conf = {
        "spark.executor.memory": "512m",
        "spark.executor.cores": "1",
        "spark.cores.max": "2",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": (folder / "events").as_uri(),
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "4",
        # Both workers are to join: a task does not wait for the one that is up already.
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    }
    spark = open_session(SparkSettings(master=master, driver_memory="512m", conf=conf), app="cluster")
    spine = read_spine(spark, str(folder / "spine.parquet"), keys=VIEW.join_keys)
    pin = pin_log(spark, folder / "warehouse", VIEW, position=1 << 40)
    joined = plan_join(spine, [AsOf(pin=pin)], engine="native").to_frame().toArrow()
    spark.stop()
    pq.write_table(joined, folder / "joined.parquet")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
