"""The race of windows: its data, its contenders, and what their results are held against."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.places import out_path, remove
from benchmarks.racing import Contender, ContenderFailedError, Run, module_command, say
from benchmarks.windows.shape import Shape
from benchmarks.windows.truth import Truth, describe

_WARM_UP_EVENTS = 20_000


def make_data(shapes: Sequence[Shape]) -> None:
    """Write the events of these shapes, and what warms them up, where they are missing."""
    for shape in dict.fromkeys(made for wanted in shapes for made in (_warm_up(wanted), wanted)):
        if not shape.folder.exists():
            say(f"writing {shape.folder}")
            subprocess.run(module_command("benchmarks.windows.data", *shape.flags), check=True, stdout=sys.stderr)


def contender(name: str, shape: Shape, *, label: str | None = None) -> Contender:
    """A contender on a shape; label: what it is called, where one runs on several."""
    missing = None
    if name in ("duckdb", "polars") and importlib.util.find_spec(name) is None:
        missing = f"{name} is not installed; install the 'bench' extra"
    label = label or name
    arguments = (name, shape.folder, _warm_up(shape).folder, out_path(label))
    return Contender(name=label, command=module_command("benchmarks.windows.contend", *arguments), missing=missing)


def _warm_up(shape: Shape) -> Shape:
    return replace(shape, events=_WARM_UP_EVENTS)


@dataclass(kw_only=True)
class Checked:
    """Where results are wrong.

    shapes: of the data, by contender. wrong: how many values of which column are, by contender.
    """

    shapes: Mapping[str, Shape]
    wrong: dict[str, dict[str, int]] = field(default_factory=dict)

    def check(self, runs: Mapping[str, Run]) -> None:
        """Hold results against the truth, then remove them. Raises: ContenderFailedError: ours is wrong."""
        for shape in dict.fromkeys(self.shapes[label] for label in runs):
            # Worked out again in each round: it takes more memory than it is worth keeping beside contenders.
            truth = Truth(shape.folder)
            for label in (label for label in runs if self.shapes[label] == shape):
                self._check(label, truth)
                remove(out_path(label))

    def _check(self, label: str, truth: Truth) -> None:
        try:
            found = truth.wrong(out_path(label))
        except ValueError as exc:
            raise ContenderFailedError(f"{label} gave other rows: {exc}") from exc
        if found and label.startswith("ours"):
            raise ContenderFailedError(f"{label} is wrong: {describe(found)}")
        if found:
            say(f"{label} is wrong: {describe(found)}")
            self.wrong[label] = found
