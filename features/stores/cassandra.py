"""The online store on Cassandra: one table per view version, written by Spark jobs, read key by key."""

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from cassandra.cluster import Session

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.stores.base import LoadSize, OnlineStore, Read, ReadAnswer, WinnerRows, WritePath, Written
from features.stores.cassandra_read import CassandraReader
from features.stores.cassandra_schema import drop_table, ensure_table, find_release, list_tables
from features.stores.cassandra_session import VENDOR_ERRORS, connect, explain
from features.stores.cassandra_topology import DriverTopology
from features.stores.opening import online_target

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from features.stores.cassandra_loads import CassandraLoads
    from features.stores.sstables.routes import BulkTools


class CassandraStore(OnlineStore):
    """Tables in one keyspace. Connects when it is first used; after `close`, a later call connects again.

    tools: what loads as SSTables need; None: of who only reads, or loads by CQL.
    """

    def __init__(self, settings: OnlineSettings, *, tools: "BulkTools | None" = None) -> None:
        self._settings = settings
        self._connecting = Lock()
        self._session: Session | None = None
        self._reader = CassandraReader(settings, self._topology)
        self._tools = tools

    @property
    def target(self) -> str:
        """Hosts, port and keyspace."""
        return online_target(self._settings)

    def create(self, view: AppliedView) -> bool:
        """Make the keyspace and the view's table where they are missing; whether the table was.

        Raises: OnlineStoreError: Cassandra cannot be reached, or a table of that name has other columns.
        """
        session = self._connected()
        try:
            return ensure_table(session, self._settings, view)
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc

    def exists(self, view: AppliedView) -> bool:
        """Whether the view's table is there. Raises: OnlineStoreError: Cassandra cannot be reached."""
        return self._loads.exists(view)

    def tables(self) -> tuple[str, ...]:
        """The names of the keyspace's tables. Raises: OnlineStoreError: Cassandra cannot be reached."""
        session = self._connected()
        try:
            return list_tables(session, self._settings)
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc

    def server_version(self) -> str | None:
        """The release of a node. Raises: OnlineStoreError: Cassandra cannot be reached."""
        session = self._connected()
        try:
            return find_release(session)
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc

    def drop(self, view: AppliedView) -> bool:
        """Drop the view's table; whether it was there. Raises: OnlineStoreError: Cassandra cannot be reached."""
        session = self._connected()
        try:
            return drop_table(session, self._settings, view)
        except VENDOR_ERRORS as exc:
            raise explain(exc, self._settings) from exc

    def choose_path(self, view: AppliedView, size: LoadSize, *, wanted: str | None = None) -> WritePath:
        """See `OnlineStore.choose_path`: "sstable" or "cql"."""
        return self._loads.choose(view, size, wanted=wanted)

    def write(
        self, view: AppliedView, winners: "DataFrame | WinnerRows", *, position: int, path: str | None = None
    ) -> Written:
        """Put or delete each row, whole rows, at a log position. See `OnlineStore.write`."""
        return self._loads.write(view, winners, position=position, path=path)

    def delete_absent(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """Delete the stored keys that are not in `keys`, from the executors. Rows of later positions stay."""
        return self._loads.delete_absent(view, keys, position=position)

    def delete_matching(self, view: AppliedView, keys: "DataFrame", *, position: int) -> int:
        """Delete each row whose key holds one of `keys`, from the executors; see `OnlineStore.delete_matching`."""
        return self._loads.delete_matching(view, keys, position=position)

    def read(self, requests: Sequence[Read], *, timeout_seconds: float | None = None) -> list[ReadAnswer]:
        """See `OnlineStore.read`."""
        return self._reader.read(requests, timeout_seconds=timeout_seconds)

    async def read_async(self, requests: Sequence[Read], *, timeout_seconds: float | None = None) -> list[ReadAnswer]:
        """The same, without blocking the event loop."""
        return await self._reader.read_async(requests, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        """Release connections; calling it twice is fine."""
        self._reader.close()
        with self._connecting:
            session, self._session = self._session, None
        if session is not None:
            session.cluster.shutdown()

    def _connected(self) -> Session:
        with self._connecting:
            if self._session is None:
                self._session = connect(self._settings)
            return self._session

    @property
    def _loads(self) -> "CassandraLoads":
        # Who only reads needs neither Arrow nor NumPy.
        from features.stores.cassandra_loads import CassandraLoads

        return CassandraLoads(self._settings, self._connected, self._tools)

    def _topology(self) -> DriverTopology:
        settings = self._settings
        return DriverTopology(self._connected(), keyspace=settings.keyspace, datacenter=settings.datacenter)
