"""What an online store promises. Loads and serving know this protocol, never a vendor."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from features.core.applied import AppliedView
from features.errors import OnlineStoreError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# Columns that a load adds to the winners it hands to a store.
DELETE = "_delete"
TTL_SECONDS = "_ttl_seconds"
# Cassandra's longest TTL; a row that lives longer has none.
MAX_TTL_SECONDS = 20 * 365 * 24 * 3600

Key = tuple[Any, ...]
Batches = Iterator["pa.RecordBatch"]
Task = Callable[[Batches], Batches]


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """One table's part of a request: which keys, which features.

    keys: one tuple per entity row, values in the order of the view's join keys, of the types of their DType (a
        TIMESTAMP key an aware datetime). The same key may occur twice.
    """

    view: AppliedView
    features: tuple[str, ...]
    keys: tuple[Key, ...]


class OnlineRow(NamedTuple):
    """What an online table holds of one key. Times are int64 microseconds since 1970 UTC.

    values: in the order asked, as Python values: TIMESTAMP an aware datetime in UTC, lists as lists, decimals with the
        scale of their type.
    """

    event_micros: int
    created_micros: int
    values: tuple[Any, ...]


# Beside the keys of a read the row of each, or None where there is none; or why the read was not answered.
ReadAnswer = list[OnlineRow | None] | OnlineStoreError


def rows_of(answer: ReadAnswer) -> list[OnlineRow | None]:
    """The rows of a read that was answered. Raises: OnlineStoreError: it was not."""
    if isinstance(answer, OnlineStoreError):
        raise answer
    return answer


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadSize:
    """How much a load may write, at most: keys, and bytes of the log's files that hold their values."""

    rows: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WritePath:
    """A way of writing that a store has, by its name, and why a load takes it."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What a write was given, by its own count: how many rows, and a few of them, to be read back."""

    rows: int
    sample: "pa.Table"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """How many keys a write put, how many it deleted, and what it was given."""

    rows: int
    deleted: int
    evidence: Evidence | None = field(default=None, compare=False)


class WinnerRows(Protocol):
    """Winners that are known how to compute: lazily, the same ones each time."""

    @property
    def now(self) -> datetime:
        """When `_ttl_seconds` are counted from: a load may write long after, and no row may outlive its end by that."""

    def to_frame(self) -> "DataFrame":
        """The rows, in any order."""

    def run(self, then: "Task", schema: str) -> "list[Mapping[str, Any]]":
        """The rows, of that schema, that `then` makes of these: in tasks of executors, or here where that is sooner.

        Nothing goes through the JVM before it. `then` may be called in many tasks, each with rows of its own.
        """


class OnlineStore(Protocol):
    """Latest rows by key. All writes carry a log position, and the greatest position wins, whole rows at a time."""

    @property
    def target(self) -> str:
        """Which store this is, such as `cassandra://127.0.0.1:9042/features`: checkpoints are kept for each."""

    def create(self, view: AppliedView) -> bool:
        """Make the table of a view version, and what it needs, where it is missing; whether it was.

        Raises: OnlineStoreError: the store cannot be reached, or a table of that name has other columns.
        """

    def exists(self, view: AppliedView) -> bool:
        """Whether the table of a view version is there. Raises: OnlineStoreError: the store cannot be reached."""

    def tables(self) -> tuple[str, ...]:
        """The names of all tables that are there. Raises: OnlineStoreError: the store cannot be reached."""

    def server_version(self) -> str | None:
        """The version of the store's server, such as "5.0.4"; None: it has no server.

        Raises: OnlineStoreError: the store cannot be reached.
        """

    def drop(self, view: AppliedView) -> bool:
        """Remove the table of a view version with all its rows; whether it was there.

        Raises: OnlineStoreError: the store cannot be reached.
        """

    def choose_path(self, view: AppliedView, size: LoadSize, *, wanted: str | None = None) -> WritePath:
        """The way that a load of that size is written; wanted: which, None: as the settings say.

        Raises: OnlineStoreError: the store cannot be reached; PlatformError: what is wanted cannot be had here.
        """

    def write(
        self, view: AppliedView, winners: "DataFrame | WinnerRows", *, position: int, path: str | None = None
    ) -> Written:
        """Put or delete each row, with a write timestamp made of the position alone; from executors, or the driver.

        Args:
            view: the version whose table is written.
            winners: one row per key: join keys, event_timestamp, created_timestamp, features, `_delete` (bool, never
                null: delete the key's row instead) and `_ttl_seconds` (int, null: the row stays).
            position: the log position, `_seq`, that the winners were taken at.
            path: the name of one that `choose_path` answered; None: the one that needs the least. What is stored is
                the same by any.

        Raises: OnlineStoreError: not every row was acknowledged; writing again is always safe.
        """

    def delete_absent(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """Delete each stored key that is not in `keys` (its join keys, distinct), at that position; how many."""

    def delete_matching(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """Delete each row whose key holds one of `keys`, at that position; how many. Rows of later positions stay.

        keys: distinct, of the types of the view's join keys, and of some of their columns. Where it has all of them,
        keys that are not stored are deleted too: no load of an older position can bring one.
        """

    def read(self, requests: Sequence[Read], *, timeout_seconds: float | None = None) -> list[ReadAnswer]:
        """An answer to each request: the rows beside its keys, or the error that it met; see `rows_of`.

        Requests run in parallel, and one that fails leaves the others alone. timeout_seconds: after so long, what is
        not answered is an error; None: the store's own setting.
        """

    async def read_async(self, requests: Sequence[Read], *, timeout_seconds: float | None = None) -> list[ReadAnswer]:
        """The same, without blocking the event loop."""

    def close(self) -> None:
        """Release connections; calling it twice is fine."""
