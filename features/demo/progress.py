"""What the demo says while it works: numbered steps, each with its seconds; and Spark's own words kept in a file."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Tell = Callable[[str], None]


@dataclass(kw_only=True)
class Progress:
    """Steps on stdout. seconds: of each step that is done, by its title, in order."""

    total: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, title: str) -> Iterator[Tell]:
        """Announces a step, and tells what it took when it is done; the block gets a function that tells of it."""
        print(f"\n[{len(self.seconds) + 1}/{self.total}] {title}", flush=True)
        began = time.monotonic()
        yield tell
        self.seconds[title] = time.monotonic() - began
        tell(f"{self.seconds[title]:.1f} s")


def tell(line: str) -> None:
    """One line of a step."""
    for part in line.splitlines():
        print(f"      {part}", flush=True)


@contextmanager
def stderr_in_file(path: Path) -> Iterator[None]:
    """Sends stderr to a file inside the block, for this process and for a JVM that it starts there, to its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
