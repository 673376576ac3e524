"""One contender's process, started by a race: warms up, then works and measures. Plain Python, for any environment.

A contender is a function of a folder of data and of a path, to which it writes its result as Parquet. It runs once on
a little data, uncounted, so that sessions, classes and workers are warm, and then on the data itself. What its module's
`prepare` does of each folder, such as defining views, is not counted either. Where work changes its data, the module's
`warm_up` is called in its place first.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.measuring import measured
from benchmarks.places import remove

_CORES = 2

Work = Callable[[str, str], dict[str, Any] | None]


def contend(contenders: Mapping[str, str]) -> None:
    """Run the contender that the command line names: NAME DATA WARM_UP_DATA OUT.

    Args:
        contenders: name to `module:function`, imported by name: an environment may lack what the others need.
    """
    name, data, warm_up, out = sys.argv[1:]
    # Processes that are started later inherit this, the JVM and its workers too.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    place, _, function = contenders[name].partition(":")
    module = importlib.import_module(place)
    work: Work = getattr(module, function)
    prepare: Callable[[str], None] | None = getattr(module, "prepare", None)
    warm: Work = getattr(module, "warm_up", work)
    scratch = f"{out}.warm-up"
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    for leftover in (scratch, out):
        remove(leftover)
    for folder in (warm_up, data):
        if prepare is not None:
            prepare(folder)
    warm(warm_up, scratch)
    remove(scratch)
    with measured() as notes:
        notes.update(work(data, out) or {})
