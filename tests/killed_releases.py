"""A release that kills its own process (-9) between the quarantine and the log: `python -m tests.killed_releases`."""

import json
import os
import signal
import sys
from typing import Any

from features.config import SparkSettings
from features.core.times import parse_instant
from features.engine.session import open_session
from features.materialization.quarantine import Releaser
from features.registry import Registry
from features.stores.delta import FeatureLog


def main(told: str) -> None:
    """Release b's rows, and die before the commit. told: JSON of registry, warehouse, start and end."""
    url, warehouse, start, end = json.loads(told)

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    FeatureLog.append = die  # type: ignore[assignment]
    spark = open_session(SparkSettings(master="local[1]", driver_memory="800m"), app="killed")
    releaser = Releaser(spark=spark, registry=Registry.open(url), warehouse=warehouse)
    since, until = (parse_instant(f"{day}T00:00:00Z") for day in (start, end))
    view = releaser.registry.view("last_payment")
    releaser.release(view, since, until, keys=[{"customer": "b"}], actor="tests")


if __name__ == "__main__":
    main(sys.argv[1])
