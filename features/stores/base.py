"""What an online store promises. Loads and serving know this protocol, never a vendor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from features.core.applied import AppliedView

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Columns that a load adds to the winners it hands to a store.
DELETE = "_delete"
TTL_SECONDS = "_ttl_seconds"
# Cassandra's longest TTL; a row that lives longer has none.
MAX_TTL_SECONDS = 20 * 365 * 24 * 3600

Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """One table's part of a request: which keys, which features.

    keys: one tuple per entity row, values in the order of the view's join keys, of the types of their DType (a
        TIMESTAMP key an aware datetime). The same key may occur twice.
    """

    view: AppliedView
    features: tuple[str, ...]
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """What an online table holds of one key. Times are int64 microseconds since 1970 UTC.

    values: in the order asked, as Python values: TIMESTAMP an aware datetime in UTC, lists as lists, decimals with the
        scale of their type.
    """

    event_micros: int
    created_micros: int
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """How many keys a write put, and how many it deleted."""

    rows: int
    deleted: int


class OnlineStore(Protocol):
    """Latest rows by key. All writes carry a log position, and the greatest position wins, whole rows at a time."""

    @property
    def target(self) -> str:
        """Which store this is, such as `cassandra://127.0.0.1:9042/features`: checkpoints are kept for each."""

    def create(self, view: AppliedView) -> bool:
        """Make the table of a view version, and what it needs, where it is missing; whether it was.

        Raises: OnlineStoreError: the store cannot be reached, or a table of that name has other columns.
        """

    def write(self, view: AppliedView, winners: "DataFrame", *, position: int) -> Written:
        """Put or delete each row, with a write timestamp made of the position alone; from the executors.

        Args:
            view: the version whose table is written.
            winners: one row per key: join keys, event_timestamp, created_timestamp, features, `_delete` (bool, never
                null: delete the key's row instead) and `_ttl_seconds` (int, null: the row stays).
            position: the log position, `_seq`, that the winners were taken at.

        Raises: OnlineStoreError: not every row was acknowledged; writing again is always safe.
        """

    def delete_absent(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """Delete each stored key that is not in `keys` (its join keys, distinct), at that position; how many."""

    def read(self, requests: Sequence[Read]) -> list[list[OnlineRow | None]]:
        """For each request a list, beside its keys: the row, or None where there is none. Requests run in parallel."""

    async def read_async(self, requests: Sequence[Read]) -> list[list[OnlineRow | None]]:
        """The same, without blocking the event loop."""

    def close(self) -> None:
        """Release connections; calling it twice is fine."""
