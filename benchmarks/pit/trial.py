"""The race of one shape of data: every contender's rows compared with those of the first before its time counts."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.compare import difference, read
from benchmarks.pit.shape import Layout, Shape
from benchmarks.places import out_path, remove
from benchmarks.racing import Contender, ContenderFailedError, Run, module_command, race, say

# Its rows may differ, and are counted; one run of it takes minutes.
_FEAST = "feast"


def run_trial(shape: Shape, names: Sequence[str], *, repeats: int, fresh: bool) -> dict[str, Any]:
    """The figures of a race on one shape. Raises: ContenderFailedError: one failed, or its rows are others."""
    make_data([shape], fresh=fresh)
    # Feast last: the first one's rows are what all are compared with.
    ordered = sorted(names, key=lambda name: name == _FEAST)
    checked = _Checked(shape=shape)
    result = race([contender(name, shape) for name in ordered], repeats=repeats, check=checked.check)
    return {"benchmark": "pit", **asdict(shape), **result.figures(), **checked.told}


def make_data(shapes: Sequence[Shape], *, fresh: bool) -> None:
    """Write the data of these shapes, and what warms them up, where it is missing."""
    for shape in dict.fromkeys(made for wanted in shapes for made in (warm_up(wanted), wanted)):
        if fresh or not (shape.folder / "layout.json").exists():
            say(f"writing {shape.folder}")
            subprocess.run(module_command("benchmarks.pit.data", *shape.flags), check=True, stdout=sys.stderr)


def warm_up(shape: Shape) -> Shape:
    """A little data of the same kind; enough of a spine that both workers of Spark get tasks of it."""
    return replace(shape, rows=20_000, spine=100_000, days=3)


def contender(name: str, shape: Shape, *, label: str | None = None) -> Contender:
    """A contender on a shape; label: what it is called, where one runs on several."""
    from benchmarks.pit import peer_feast

    missing, python = None, sys.executable
    if name.startswith("duckdb") and importlib.util.find_spec("duckdb") is None:
        missing = "duckdb is not installed; install the 'bench' extra"
    if name == _FEAST:
        missing = peer_feast.ENVIRONMENT.install(f"{Path(sys.executable).parent}/uv", sys.executable)
        python = str(peer_feast.ENVIRONMENT.python)
    label = label or name
    arguments = (name, shape.folder, warm_up(shape).folder, out_path(label))
    command = module_command("benchmarks.pit.contend", *arguments, python=python)
    at_most = 1 if name == _FEAST else None
    # Its join of a hot key's rows with each other has filled disks.
    return Contender(name=label, command=command, missing=missing, at_most=at_most, may_fail=name == _FEAST)


@dataclass(kw_only=True)
class _Checked:
    """The rows of the first contender, and how those of all others compare with them."""

    shape: Shape
    told: dict[str, Any] = field(default_factory=dict)
    _wanted: pa.Table | None = None

    def check(self, runs: Mapping[str, Run]) -> None:
        """Compare the results of a round, then remove them. Raises: ContenderFailedError: one is not as it must be."""
        layout = Layout.read(self.shape.folder)
        for name, run in runs.items():
            path = run.notes.get("path") or out_path(name)
            found = read(path, layout.columns)
            if name == _FEAST:
                self._tell(found)
            elif self._wanted is None:
                check_spine(name, layout, found)
                self._wanted = found
            elif unlike := difference(self._wanted, found):
                raise ContenderFailedError(f"{name} gave other rows than the contender before it: {unlike}")
            remove(path)

    def _tell(self, found: pa.Table) -> None:
        if self._wanted is None:
            return
        unlike = difference(self._wanted, found)
        say(f"{_FEAST}: {unlike}")
        self.told["differs"] = {_FEAST: {**asdict(unlike), "share": round(unlike.rows / self.shape.spine, 6)}}


def check_spine(name: str, layout: Layout, found: pa.Table) -> None:
    """Raises: ContenderFailedError: the rows are not those of the spine."""
    spine = read(layout.spine, ["row_id", *layout.keys, "event_timestamp"])
    if unlike := difference(spine, found):
        raise ContenderFailedError(f"{name} did not keep the spine: {unlike}")
