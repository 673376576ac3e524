"""A Spark standalone cluster for tests, whose workers import what tests import."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.embedded.spark_cluster import SparkCluster


@contextmanager
def standalone_cluster(folder: Path, *, workers: int, worker_memory_mb: int = 1024) -> Iterator[str]:
    """The master's URL, while it runs with so many workers of one core each; logs and work lie in `folder`."""
    environment = {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    cluster = SparkCluster(
        state_dir=folder, port=0, workers=workers, cores=1, memory_mb=worker_memory_mb, environment=environment
    )
    try:
        yield str(cluster.start().url)
    finally:
        cluster.stop()
