"""The layouts, the data that is written in each, and where it is kept."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.places import STATE

DAY = timedelta(days=1)
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
# Rows of a row group, and files of a commit, by layout. Spark's own row groups end at 128 MB, more than a day's file.
LAYOUTS = {
    "4096": (4_096, 1),
    "16384": (16_384, 1),
    "whole": (1 << 30, 1),
    "8_files": (16_384, 8),
}
# Works that change the log are repeated on other days, so many at most.
MOST_REPEATS = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """days: of history. rows: of each day. features: floats in a row. keys: entities. spine: rows to enrich."""

    days: int = 30
    rows: int = 100_000
    features: int = 50
    keys: int = 60_000
    spine: int = 300_000

    def __post_init__(self) -> None:
        if min(self.rows, self.features, self.keys, self.spine) < 1 or self.days <= MOST_REPEATS:
            raise ValueError(f"rows and features must be at least 1, days more than {MOST_REPEATS}")

    @property
    def names(self) -> list[str]:
        """Of the features."""
        return [f"f{place:03d}" for place in range(self.features)]

    @property
    def folder(self) -> Path:
        """Where source, spine and histories are kept."""
        return STATE / "layout" / f"{self.days}x{self.rows}x{self.features}"

    @property
    def source(self) -> Path:
        """Rows by day."""
        return self.folder / "events"

    @property
    def spine_path(self) -> Path:
        """What the join enriches."""
        return self.folder / "spine.parquet"

    def history(self, layout: str) -> Path:
        """The store whose log has this layout."""
        return self.folder / f"history-{layout}"


def day_start(number: int) -> datetime:
    """When a day begins."""
    return FIRST_DAY + number * DAY


def of_store(folder: str | Path) -> tuple[Shape, str]:
    """The shape and the layout of a store, or of a working copy of one."""
    days, rows, features = map(int, Path(folder).parent.name.split("x"))
    layout = Path(folder).name.removeprefix("history-").partition(".")[0]
    return Shape(days=days, rows=rows, features=features), layout


def working_copy(history: Path, work: str) -> Path:
    """What a work builds upon; the history itself stays as it is."""
    return history.with_name(f"{history.name}.{work}")
