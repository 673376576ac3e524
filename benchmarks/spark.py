"""Spark sessions of contenders, each with two threads."""

from typing import TYPE_CHECKING

from benchmarks.places import scratch
from features.config import SparkSettings
from features.engine.session import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def our_settings() -> SparkSettings:
    """What conf/local.yaml says."""
    return SparkSettings(master="local[2]", driver_memory="1g", conf={"spark.local.dir": scratch()})


def open_tuned_session(app: str) -> "SparkSession":
    """A session for a peer that shuffles long: a heap of 4 GB, the optimizing compiler, 32 partitions."""
    conf = {
        "spark.local.dir": scratch(),
        "spark.sql.shuffle.partitions": "32",
        "spark.driver.extraJavaOptions": "-Djava.net.preferIPv4Stack=true",
    }
    return open_session(SparkSettings(master="local[2]", driver_memory="4g", conf=conf), app=app)
