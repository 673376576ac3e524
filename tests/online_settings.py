"""Settings with which clients reach the embedded nodes that tests start."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from features.config import OnlineSettings, TlsSettings
from features.embedded.cassandra import Status

if TYPE_CHECKING:
    from cassandra.cluster import Session

ADMIN_PASSWORD_ENV = "TEST_ADMIN_PASSWORD"


def settings_of(*nodes: Status, **more: Any) -> OnlineSettings:
    """Settings of all these nodes: their authority, as many replicas as there are nodes, and no user."""
    certificates = nodes[0].certificates
    values: dict[str, Any] = {
        "hosts": tuple(node.host for node in nodes),
        "port": nodes[0].port,
        "replication": len(nodes),
        "consistency": "LOCAL_QUORUM" if len(nodes) > 1 else "LOCAL_ONE",
        "tls": TlsSettings(ca_file=str(certificates.ca)) if certificates else None,
    }
    return OnlineSettings(**values | more)


def admin_of(*nodes: Status, **more: Any) -> OnlineSettings:
    """Settings of the role that may do all; the password is in the variable ADMIN_PASSWORD_ENV."""
    return settings_of(*nodes, username="cassandra", password_env=ADMIN_PASSWORD_ENV, **more)


@contextmanager
def session_of(settings: OnlineSettings) -> "Iterator[Session]":
    """A session, closed afterwards."""
    from features.stores.cassandra_session import connect

    session = connect(settings)
    try:
        yield session
    finally:
        session.cluster.shutdown()
