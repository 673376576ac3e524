"""Inside a contender's process: what it tells the race of its measured part. Plain Python, for any environment."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STARTED, DONE = "started", "done"


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Tell the race that the measured part begins, and how many seconds it took.

    What is put into the mapping goes along. Session start, imports and warming up stand before the block.
    """
    notes: dict[str, Any] = {}
    _tell({"event": STARTED})
    begun = time.perf_counter()
    yield notes
    _tell({"event": DONE, "seconds": time.perf_counter() - begun, "notes": notes})


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
