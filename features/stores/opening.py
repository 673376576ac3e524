"""The online store that settings name."""

from typing import TYPE_CHECKING
from uuid import uuid4

from features.config import OnlineSettings
from features.stores.base import OnlineStore

if TYPE_CHECKING:
    from features.stores.sstables.routes import BulkTools

_PROCESS = uuid4().hex


def open_online_store(settings: OnlineSettings, *, tools: "BulkTools | None" = None) -> OnlineStore:
    """The store, not yet connected: nothing is reached for before it is used. Each call opens a new one.

    tools: what loads as SSTables need; None: it is opened for reading, or loads by other means.
    """
    if settings.type == "memory":
        from features.stores.memory import MemoryStore

        return MemoryStore()
    from features.stores.cassandra import CassandraStore

    return CassandraStore(settings, tools=tools)


def online_target(settings: OnlineSettings) -> str:
    """Which store that is, such as `cassandra://127.0.0.1:9042/features`: what was loaded is remembered for each.

    Memory is another one in every process: `memory://<random>`.
    """
    if settings.type == "memory":
        return f"memory://{_PROCESS}"
    return f"cassandra://{','.join(sorted(settings.hosts))}:{settings.port}/{settings.keyspace}"
