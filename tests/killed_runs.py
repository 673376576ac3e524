"""Materializations in processes that die at a boundary: `python -m tests.killed_runs`, over the Spark of the test.

A boundary lies behind everything that outlives the process: a transaction of the registry, a commit of Delta, a write
to the online store. What lies behind one lies before the next. The Spark that such a process uses is that of the test,
so that a kill costs a second: what dies with -9 is the driver, between two steps; tests of loads and saves kill Spark
itself, amid a step.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from features.quality.gx import load_great_expectations
from features.registry.database import Database
from features.store import FeatureStore
from features.stores.cassandra import CassandraStore
from features.stores.delta import FeatureLog
from features.stores.quarantine import Quarantine

ROOT = Path(__file__).parents[1]


@dataclass
class Boundaries:
    """The boundaries that were passed, in order; at the one of this number the process dies."""

    deadly: int
    passed: list[str] = field(default_factory=list)

    def reach(self, what: str) -> None:
        """One more."""
        self.passed.append(what)
        if len(self.passed) == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner: type, name: str) -> None:
        """Lay a boundary behind a method."""
        method: Callable[..., Any] = getattr(owner, name)

        @wraps(method)
        def watched(*given: Any, **named: Any) -> Any:
            result = method(*given, **named)
            self.reach(f"{owner.__name__}.{name}")
            return result

        setattr(owner, name, watched)

    def watch_transactions(self) -> None:
        """Lay a boundary behind every write to the registry."""
        write = Database.write

        @contextmanager
        def watched(database: Database) -> Iterator[Any]:
            # The one who asks: of contextlib, and of this.
            asking = sys._getframe(2).f_code.co_name
            with write(database) as connection:
                yield connection
            self.reach(f"registry.{asking}")

        Database.write = watched  # type: ignore[method-assign]


class Victims:
    """Processes that materialize, and die at a boundary. All are forked from one, which has imported what they need."""

    def __init__(self, spark: SparkSession, imports: Path) -> None:
        gateway: Any = type(spark.sparkContext)._gateway
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(imports), str(ROOT))),
            "PYSPARK_GATEWAY_PORT": str(gateway.gateway_parameters.port),
            "PYSPARK_GATEWAY_SECRET": gateway.gateway_parameters.auth_token,
        }
        command = [sys.executable, "-m", "tests.killed_runs"]
        self._parent = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def materialize(self, deadly: int, folder: Path, asked: Mapping[str, Any]) -> tuple[int, list[str]]:
        """The exit code of a process, and the boundaries that it passed if it lived; `deadly` 0: it shall live."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps([deadly, str(folder), dict(asked)]) + "\n")
        self._parent.stdin.flush()
        code, passed = json.loads(self._parent.stdout.readline())
        return code, passed

    def close(self) -> None:
        """No more of them."""
        self._parent.communicate(timeout=30)


def main() -> None:
    """Fork a process for each line that comes in, and tell how it ended."""
    for module in ("features.store", "features.stores.cassandra_loads", "features.materialization.build", "delta"):
        importlib.import_module(module)
    load_great_expectations()
    for line in sys.stdin:
        deadly, folder, asked = json.loads(line)
        reading, writing = os.pipe()
        victim = os.fork()
        if victim == 0:
            status = 1
            try:
                passed = _live(deadly, folder, asked)
                os.write(writing, json.dumps(passed).encode())
                status = 0
            except BaseException:  # noqa: BLE001 - boundary: a fork must not go on as its parent
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1])
        sys.stdout.write(json.dumps([code, json.loads(told or "[]")]) + "\n")
        sys.stdout.flush()


def _live(deadly: int, folder: str, asked: dict[str, Any]) -> list[str]:
    _share_spark()
    boundaries = Boundaries(deadly)
    boundaries.watch_transactions()
    boundaries.watch(FeatureLog, "_commit_as")
    boundaries.watch(Quarantine, "replace")
    for name in ("create", "write", "delete_absent"):
        boundaries.watch(CassandraStore, name)
    with FeatureStore.from_conf(Path(folder, "conf"), env="local") as store:
        store.registry  # noqa: B018 - a registry is migrated when it is opened
        boundaries.passed.clear()
        store.materialize(**asked)
    return boundaries.passed


def _share_spark() -> None:
    """A session over the context that the test's process has. Who dies takes neither with it."""
    gateway = launch_gateway()
    jvm: Any = gateway.jvm
    context = jvm.org.apache.spark.SparkContext.getOrCreate()
    java_context = jvm.org.apache.spark.api.java.JavaSparkContext(context)
    SparkSession(SparkContext(gateway=gateway, jsc=java_context, conf=SparkConf(_jvm=jvm, _jconf=context.conf())))


if __name__ == "__main__":
    main()
