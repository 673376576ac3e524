"""The race: what a contender stored is read back and compared with the log before its time counts."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from benchmarks.load import peers
from benchmarks.load.shape import CHANGED, FOLDER, TOUCHED, Shape, write_node
from benchmarks.load.views import KEY, VIEW, types, warehouse
from benchmarks.online.peer_feast import ENVIRONMENT
from benchmarks.places import out_path
from benchmarks.racing import Contender, ContenderFailedError, Race, Run, module_command, race, say
from features.embedded.cassandra import CassandraNode
from features.stores.base import Read, rows_of
from features.stores.cassandra import CassandraStore
from features.stores.cassandra_session import connect
from features.stores.log_state import EVENT

_HEAP_MB = 2048
# Cassandra's own default, for all alike. The embedded node otherwise waits for the disk before each acknowledgement,
# and 200,000 rows take 33 s by CQL instead of 12 to 16 s.
_OPTIONS = {"commitlog_sync": "periodic", "commitlog_sync_period": "10000ms"}
_SAMPLE = 500
_SLICES = 64


def run_trial(shape: Shape, names: Sequence[str], *, repeats: int, fresh: bool) -> dict[str, Any]:
    """The figures of a race. Raises: ContenderFailedError: one failed, or stored other rows."""
    for made in (_warm_up(shape), shape):
        if fresh or not (made.folder / "shape.json").exists():
            say(f"writing {made.folder}")
            subprocess.run(module_command("benchmarks.load.data", *made.flags), check=True, stdout=sys.stderr)
    node = CassandraNode(state_dir=FOLDER / "cassandra", port=0, heap_mb=_HEAP_MB, options=_OPTIONS)
    node.start()
    try:
        status = node.status()
        write_node(status.port, status.jmx_port)
        result = race([_contender(name, shape) for name in names], repeats=repeats, check=_Check(shape))
    finally:
        node.stop()
    return {"benchmark": "load", **asdict(shape), **_figures(shape, result)}


def _warm_up(shape: Shape) -> Shape:
    """A little data of the same kind."""
    return replace(shape, rows=20_000)


def _contender(name: str, shape: Shape) -> Contender:
    missing, python = None, sys.executable
    if name == "connector":
        missing = peers.install()
    if name == "feast":
        missing = ENVIRONMENT.install(f"{Path(sys.executable).parent}/uv", sys.executable)
        python = str(ENVIRONMENT.python)
        if shape.types == "mixed":
            missing = "its part is of numbers alone"
    command = module_command(
        "benchmarks.load.contend", name, shape.folder, _warm_up(shape).folder, out_path(name), python=python
    )
    return Contender(name=name, command=command, missing=missing, at_most=1 if name == "feast" else None)


def _figures(shape: Shape, result: Race) -> dict[str, Any]:
    """Times by contender, and of each way of ours how many times as long the others take for as many rows."""
    found = result.figures(ours="sstable")
    if "feast" in result.runs:
        scale = shape.rows / result.runs["feast"][0].notes["rows"]
        found["scaled"] = {"feast": f"{result.runs['feast'][0].notes['rows']} rows, times {scale:g}"}
        for per_contender in (found["seconds"], found.get("speedup", {})):
            if "feast" in per_contender:
                per_contender["feast"] = round(per_contender["feast"] * scale, 2)
        found["spread"]["feast"] = [round(seconds * scale, 3) for seconds in found["spread"]["feast"]]
    seconds = found["seconds"]
    if "cql" in seconds:
        found["speedup_cql"] = {
            n: round(seconds[n] / seconds["cql"], 2) for n in ("connector", "feast") if n in seconds
        }
    if {"changed", "touched", "sstable"} <= set(seconds):
        # What a load of one key takes is start-up.
        found["changed_share"] = round((seconds["changed"] - seconds["touched"]) / seconds["sstable"], 4)
    for own in ("cql", "changed", "touched"):
        found.get("speedup", {}).pop(own, None)
    found["rows_per_second"] = {
        name: round(shape.rows / seconds[name]) for name in seconds if name not in ("changed", "touched")
    }
    return found


@dataclass(frozen=True)
class _Check:
    """Compares what is stored after a round with the log."""

    shape: Shape

    def __call__(self, runs: Mapping[str, Run]) -> None:
        """Raises: ContenderFailedError: rows are missing, or of another content."""
        for name, run in runs.items():
            if "keyspace" in run.notes:
                self._compare(name, run.notes["keyspace"], run.notes["variant"])
            elif name == "floor" and run.notes["rows"] != self.shape.rows:
                raise ContenderFailedError(f"floor: {run.notes['rows']} rows were handed over")
            if "keyspace" in run.notes:
                peers.drop_keyspace(run.notes["keyspace"])

    def _compare(self, name: str, keyspace: str, variant: str) -> None:
        settings, view = peers.settings(keyspace), peers.applied(self.shape)
        rows = _count(settings, f"{keyspace}.{view.online_table}")
        if rows != self.shape.rows:
            raise ContenderFailedError(f"{name} stored {rows} rows of {self.shape.rows}")
        wanted = _sample(self.shape, variant)
        store = CassandraStore(settings)
        try:
            keys = tuple((row[KEY],) for row in wanted)
            found = rows_of(*store.read([Read(view=view, features=tuple(types(self.shape)), keys=keys)]))
        finally:
            store.close()
        for row, online in zip(wanted, found, strict=True):
            values = [row[feature] for feature in types(self.shape)]
            if online is None or list(online.values) != values:
                raise ContenderFailedError(f"{name} stored {online} of {row[KEY]}, not {values}")


def _sample(shape: Shape, variant: str) -> list[dict[str, Any]]:
    """Some of the latest rows: of the second commit those that it has."""
    table = ds.dataset(f"{warehouse(shape.folder, variant)}/{VIEW}/v1", format="parquet").to_table()
    table = table.sort_by([(EVENT, "descending")])
    keys = table[KEY].to_numpy()
    _, first = np.unique(keys, return_index=True)
    many = min(_SAMPLE, len(first))
    chosen = np.random.default_rng(0).choice(first, many, replace=False)
    if variant in (CHANGED, TOUCHED):
        # All of the second commit's rows come first, since their events are a day later.
        chosen = np.concatenate([chosen, np.arange(1)])
    rows: list[dict[str, Any]] = table.take(pa.array(chosen)).to_pylist()
    return rows


def _count(settings: Any, table: str) -> int:
    """All rows, by ranges of tokens: one count of all may time out."""
    session = connect(settings)
    bounds = [-(1 << 63) + (1 << 64) * at // _SLICES for at in range(_SLICES)] + [(1 << 63) - 1]
    try:
        query = f"SELECT count(*) FROM {table} WHERE token({KEY}) > %s AND token({KEY}) <= %s"
        return sum(session.execute(query, pair, timeout=60).one()[0] for pair in pairwise(bounds))
    finally:
        session.cluster.shutdown()
