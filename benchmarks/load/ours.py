"""This project's loads, as `jobs/load.py` runs them: winners, writing, verification and the checkpoint are counted."""

import sys
from pathlib import Path
from typing import Any

from benchmarks.load.peers import await_compactions, drop_keyspace
from benchmarks.load.shape import BASE, CHANGED, TOUCHED, Shape, keyspace
from benchmarks.load.views import VIEW, define, open_store
from features.core.discovery import Definitions


def prepare(folder: str) -> None:
    """Forget earlier loads; of contenders that load changes, load the base first."""
    contender = sys.argv[1]
    drop_keyspace(keyspace(contender, folder))
    Path(folder, f"registry-{contender}.db").unlink(missing_ok=True)
    with open_store(folder, BASE, contender=contender, path="auto") as store:
        store.registry.apply(Definitions(views={VIEW: define(Shape.read(folder))}, services={}))
        if contender in ("changed", "touched"):
            store.load(VIEW)
            await_compactions(keyspace(contender, folder))


def sstable(folder: str, out: str) -> dict[str, Any]:
    """A first load, as SSTables."""
    return _load(folder, BASE, "sstable")


def cql(folder: str, out: str) -> dict[str, Any]:
    """A first load, as CQL."""
    return _load(folder, BASE, "cql")


def changed(folder: str, out: str) -> dict[str, Any]:
    """A second load, after some keys changed."""
    return _load(folder, CHANGED, "auto")


def touched(folder: str, out: str) -> dict[str, Any]:
    """A second load, after one key changed: what a load takes however little there is to write."""
    return _load(folder, TOUCHED, "auto")


def _load(folder: str, variant: str, path: str) -> dict[str, Any]:
    contender = sys.argv[1]
    with open_store(folder, variant, contender=contender, path=path) as store:
        result = store.load(VIEW)
    return {"rows": result.rows, "keyspace": keyspace(contender, folder), "variant": variant}
