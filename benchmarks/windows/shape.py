"""What events a windows benchmark runs on, which windows it computes, and where both are kept. Plain Python."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.places import STATE

SKEWS = ("uniform", "hot")
START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 90
WIDTHS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}
FUNCTIONS = ("count", "sum", "mean", "min", "max")
_MOST_KEYS = 200_000
_EVENTS_PER_KEY = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """events: how many. skew: how they spread over keys: evenly, or evenly but for one key that holds 5 % of them."""

    events: int = 10_000_000
    skew: str = "uniform"

    def __post_init__(self) -> None:
        if self.events < 1:
            raise ValueError("events must be at least 1")
        if self.skew not in SKEWS:
            raise ValueError(f"skew is one of {', '.join(SKEWS)}")

    @property
    def keys(self) -> int:
        """How many entities there are."""
        return max(1, min(_MOST_KEYS, self.events // _EVENTS_PER_KEY))

    @property
    def folder(self) -> Path:
        """Where the events are kept: one Parquet file for each day, as they arrived."""
        return STATE / "windows" / f"{self.events}-{self.skew}"

    @property
    def flags(self) -> list[str]:
        """The shape as flags."""
        return [text for name, value in asdict(self).items() for text in (f"--{name}", str(value))]


def feature(function: str, width: str) -> str:
    """The column of a function over a window, such as amount_mean_7d."""
    return f"amount_{function}_{width}"


FEATURES = [feature(function, width) for width in WIDTHS for function in FUNCTIONS]
# row_id tells equal events apart.
COLUMNS = ["row_id", "customer", "event_timestamp", *FEATURES]
