"""How long the histories are, what a day holds, and where both are kept."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.places import STATE

# The first day that is measured. Histories of all lengths end here, and go on with the same days of the same source.
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
MEASURED_DAYS = 20
WINDOW = timedelta(days=7)
DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """longest: days of source before the first measured one. rows: of each day. customers: how many keys."""

    longest: int = 1_000
    rows: int = 10_000
    customers: int = 5_000

    def __post_init__(self) -> None:
        if min(self.rows, self.customers) < 1 or self.longest < WINDOW // DAY:
            raise ValueError(f"rows must be at least 1, histories at least {WINDOW // DAY} days")

    @property
    def folder(self) -> Path:
        """Where the source and the histories are kept."""
        return STATE / "incremental" / f"{self.longest}x{self.rows}"

    @property
    def source(self) -> Path:
        """Payments by day."""
        return self.folder / "payments"

    @property
    def all_rows(self) -> Path:
        """The rows of the view's log of every day before the first measured one."""
        return self.folder / "rows"

    @property
    def fingerprints(self) -> Path:
        """What the ledger says of the source on each of those days."""
        return self.folder / "fingerprints.json"

    def history(self, days: int) -> Path:
        """The store with so many days of history."""
        return self.folder / f"history-{days}"


def working_copy(history: Path) -> Path:
    """What is built upon; the history itself stays as it is."""
    return history.with_name(f"{history.name}.run")
