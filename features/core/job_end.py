"""How a job ended, in a file: what an orchestrator reads, rather than guess from an exit code."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The variable that names the file.
END_FILE = "FEATURES_JOB_END_FILE"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFailure:
    """Why a job failed: the kind of its error, its words, and whether the same again may succeed."""

    type: str
    message: str
    retry: bool

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


def write_end(path: str, end: Mapping[str, Any]) -> None:
    """Write an end, whole or not at all.

    Args:
        path: of the file; an earlier end in it is replaced.
        end: figures of a job that is done, or {"error": {"type", "message", "retry", ...}}; values that JSON has.

    Raises: OSError: it cannot be written.
    """
    passing = Path(f"{path}.{os.getpid()}")
    passing.write_text(json.dumps(end), encoding="utf-8")
    passing.replace(path)


def read_end(path: str | Path) -> Mapping[str, Any] | None:
    """The end that a job wrote; None: it wrote none, as one that was killed does."""
    try:
        end = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return end if isinstance(end, dict) else None


def failure_of(end: Mapping[str, Any]) -> JobFailure | None:
    """Why the job failed; None: it did not."""
    error = end.get("error")
    if not isinstance(error, dict):
        return None
    return JobFailure(
        type=str(error.get("type", "Error")),
        message=str(error.get("message", "")),
        retry=bool(error.get("retry", True)),
    )
