"""Environments of peers: Feast and this project need different libraries. Plain Python, for any environment."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.places import STATE


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """One environment under .state/bench, with packages of these versions."""

    name: str
    packages: tuple[str, ...]

    @property
    def python(self) -> Path:
        """Its interpreter, once it is installed."""
        return self._folder / "bin" / "python"

    def install(self, uv: str, python: str) -> str | None:
        """Make it where it is missing; why that failed, or None."""
        mark = self._folder / ".installed"
        wanted = "\n".join(self.packages)
        if mark.exists() and mark.read_text() in ("", wanted):
            return None
        commands = (
            [uv, "venv", "--quiet", "--clear", "--python", python, str(self._folder)],
            [uv, "pip", "install", "--quiet", "--python", str(self.python), *self.packages],
        )
        for command in commands:
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as exc:
                return f"uv does not run: {exc}"
            if done.returncode != 0:
                return f"its environment cannot be made: {done.stderr.strip().splitlines()[-1:]}"
        mark.write_text(wanted)
        return None

    @property
    def _folder(self) -> Path:
        return STATE / self.name
