"""The online store that settings name."""

from uuid import uuid4

from features.config import OnlineSettings
from features.stores.base import OnlineStore

_PROCESS = uuid4().hex


def open_online_store(settings: OnlineSettings) -> OnlineStore:
    """The store, not yet connected: nothing is reached for before it is used. Each call opens a new one."""
    if settings.type == "memory":
        from features.stores.memory import MemoryStore

        return MemoryStore()
    from features.stores.cassandra import CassandraStore

    return CassandraStore(settings)


def online_target(settings: OnlineSettings) -> str:
    """Which store that is, such as `cassandra://127.0.0.1:9042/features`: what was loaded is remembered for each.

    Memory is another one in every process: `memory://<random>`.
    """
    if settings.type == "memory":
        return f"memory://{_PROCESS}"
    return f"cassandra://{','.join(sorted(settings.hosts))}:{settings.port}/{settings.keyspace}"
