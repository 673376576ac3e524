"""What data a point-in-time benchmark runs on, and where it is kept. Plain Python, for any environment."""

import argparse
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from benchmarks.places import STATE

LOOKBACK_DAYS = 7
SKEWS = ("uniform", "zipf", "hot")
KEY_KINDS = ("int", "string", "composite")
_MOST_KEYS = 200_000
_ROWS_PER_KEY = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The size and the kind of the data.

    rows: of each view's log, corrections aside. spine: rows to enrich. features: of all views together. skew: how the
    rows spread over keys: evenly, by Zipf's law, or evenly but for one key that holds 20 % of them. exponent: of Zipf's
    law. key: an integer, a string, or both. days: each has a commit.
    """

    rows: int = 10_000_000
    spine: int = 1_000_000
    features: int = 50
    views: int = 1
    skew: str = "zipf"
    exponent: float = 0.6
    key: str = "int"
    days: int = 90

    def __post_init__(self) -> None:
        if min(self.rows, self.spine, self.features, self.views, self.days) < 1:
            raise ValueError("rows, spine, features, views and days must be at least 1")
        if self.features % self.views:
            raise ValueError(f"{self.features} features do not divide into {self.views} views")
        if not 0 < self.exponent < 10:
            raise ValueError(f"exponent must lie between 0 and 10, got {self.exponent}")
        if self.skew not in SKEWS or self.key not in KEY_KINDS:
            raise ValueError(f"skew is one of {', '.join(SKEWS)}, key one of {', '.join(KEY_KINDS)}")

    @classmethod
    def of(cls, flags: argparse.Namespace) -> Self:
        """The shape that the flags of `shape_flags` name. Raises: ValueError: they make no sense."""
        return cls(**{field.name: getattr(flags, field.name) for field in fields(cls)})

    @property
    def flags(self) -> list[str]:
        """The same as flags."""
        return [text for name, value in asdict(self).items() for text in (f"--{name}", str(value))]

    @property
    def keys(self) -> int:
        """How many entities there are."""
        return max(1, min(_MOST_KEYS, self.rows // _ROWS_PER_KEY))

    @property
    def folder(self) -> Path:
        """Where the data is kept, named after all that decides it."""
        views = f"{self.views}x{self.features // self.views}"
        skew = f"{self.skew}{self.exponent}" if self.skew == "zipf" else self.skew
        return STATE / "pit" / f"{self.rows}-{self.spine}-{views}-{skew}-{self.key}-{self.days}d"


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One view's log: its features, and the Parquet files of its Delta table, absolute."""

    reference: str
    log: str
    files: list[str]
    features: list[str]

    @property
    def name(self) -> str:
        """Without its version."""
        return self.reference.partition("@")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What lies in a folder of data: all that a contender has to know.

    keys: the join keys' names, and their types in Arrow's words. spine: row_id, keys, event_timestamp.
    """

    keys: dict[str, str]
    spine: str
    views: list[View]
    warehouse: str
    registry: str
    spine_rows: int

    @property
    def features(self) -> list[str]:
        """All features, view by view."""
        return [name for view in self.views for name in view.features]

    @property
    def columns(self) -> list[str]:
        """The columns of every contender's result."""
        return ["row_id", *self.keys, "event_timestamp", *self.features]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """What was written into a folder of data."""
        content: dict[str, Any] = json.loads((Path(folder) / "layout.json").read_text())
        return cls(**{**content, "views": [View(**view) for view in content["views"]]})


def shape_flags() -> argparse.ArgumentParser:
    """The flags that choose the data, as a parent of a command's own."""
    default = Shape()
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument("--rows", type=int, default=default.rows, help="rows of each view's log (default %(default)s)")
    flags.add_argument("--spine", type=int, default=default.spine, help="rows to enrich (default %(default)s)")
    flags.add_argument("--features", type=int, default=default.features, help="of all views (default %(default)s)")
    flags.add_argument("--views", type=int, default=default.views, help="(default %(default)s)")
    flags.add_argument("--skew", choices=SKEWS, default=default.skew, help="of rows over keys (default %(default)s)")
    flags.add_argument("--exponent", type=float, default=default.exponent, help="of Zipf's law (default %(default)s)")
    flags.add_argument("--key", choices=KEY_KINDS, default=default.key, help="kind of key (default %(default)s)")
    flags.add_argument("--days", type=int, default=default.days, help="daily commits of a log (default %(default)s)")
    return flags
