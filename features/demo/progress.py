"""What the demo says while it works: numbered steps, each with the seconds that it took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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
