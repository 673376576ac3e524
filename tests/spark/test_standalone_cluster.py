"""The native join on a cluster of two workers: the same rows, and the log read by tasks, where it lies."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from features.core.times import to_micros
from features.engine.as_of import AsOf, plan_join
from features.engine.spine import read_spine
from tests.builders import UTC_MICROS, at
from tests.logs import log_schema, pin_log
from tests.spark.cluster_join import VIEW
from tests.standalone import standalone_cluster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

_DAY = 86_400_000_000
_ROWS, _KEYS, _DAYS = 20_000, 2_000, 5


def write_inputs(folder: Path) -> int:
    """A log of five daily files and a spine of 60,000 rows; the log's size in bytes."""
    random = np.random.default_rng(7)
    start = to_micros(at("2024-01-01"))
    for day in range(_DAYS):
        keys, events = random.integers(0, _KEYS, _ROWS), start + day * _DAY + random.integers(0, _DAY, _ROWS)
        order = np.lexsort((events, keys))
        midnight = np.full(_ROWS, start + (day + 1) * _DAY)
        own = [keys[order], events[order], midnight, ["put"] * _ROWS, np.full(_ROWS, day + 1), midnight]
        columns = [*own, *(random.random(_ROWS) for _ in VIEW.features)]
        schema = log_schema(VIEW)
        arrays = [pa.array(c).cast(field.type) for c, field in zip(columns, schema, strict=True)]
        write_deltalake(str(folder / "warehouse" / VIEW.log_path), pa.table(arrays, schema=schema), mode="append")
    count = 60_000
    times = pa.array(start + random.integers(0, _DAYS * _DAY, count)).cast(UTC_MICROS)
    keys = pa.array(random.integers(0, _KEYS, count))
    pq.write_table(
        pa.table({"customer": keys, "event_timestamp": times, "n": np.arange(count)}), folder / "spine.parquet"
    )
    return sum(file.stat().st_size for file in (folder / "warehouse").rglob("*.parquet"))


def events(folder: Path) -> Iterator[dict[str, Any]]:
    for file in (folder / "events").rglob("*"):
        if file.is_file() and not file.name.endswith(".crc"):
            for line in file.read_text().splitlines():
                yield json.loads(line)


def test_two_workers_join_as_one_machine_does(spark: "SparkSession", tmp_path: Path) -> None:
    log_bytes = write_inputs(tmp_path)
    (tmp_path / "events").mkdir()
    with standalone_cluster(tmp_path, workers=2) as master:
        command = [sys.executable, "-m", "tests.spark.cluster_join", master, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    spine = read_spine(spark, str(tmp_path / "spine.parquet"), keys=VIEW.join_keys)
    pin = pin_log(spark, tmp_path / "warehouse", VIEW, position=1 << 40)
    here = plan_join(spine, [AsOf(pin=pin)], engine="spark").to_frame().toArrow().sort_by("n")
    there = pq.read_table(tmp_path / "joined.parquet").sort_by("n")
    assert there.equals(here)
    assert there["f0"].null_count < there.num_rows

    tasks = [event for event in events(tmp_path) if event["Event"] == "SparkListenerTaskEnd"]
    assert {task["Task Info"]["Executor ID"] for task in tasks} == {"0", "1"}
    metrics = [task["Task Metrics"] for task in tasks]
    shuffled = sum(m["Shuffle Write Metrics"]["Shuffle Bytes Written"] for m in metrics)
    read_by_spark = sum(m["Input Metrics"]["Bytes Read"] for m in metrics)
    # Spark moved the spine; the log, many times its size, was neither scanned nor shuffled by it.
    assert 0 < shuffled < log_bytes / 5
    assert 0 < read_by_spark < log_bytes / 5
