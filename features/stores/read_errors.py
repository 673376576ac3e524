"""What a read that was not answered means, in the words of the feature store."""

import ipaddress

from features.config import OnlineSettings
from features.core.applied import AppliedView
from features.errors import NotLoadedError, OnlineStoreError
from features.stores.wire import connection, frames
from features.stores.wire.connection import Lost
from features.stores.wire.frames import ServerError
from features.stores.wire.plane import Outcome, Refused


def explain_outcome(outcome: Outcome, settings: OnlineSettings, *, view: AppliedView) -> OnlineStoreError:
    """The error of a read of a view's table. outcome: what came instead of rows; None: nothing, before the deadline."""
    where = addresses_of(settings)
    name = f"{settings.keyspace}.{view.online_table}"
    match outcome:
        case None:
            return OnlineStoreError(f"{name} at {where} did not answer in time; it may be overloaded, or down")
        case Lost(reason=connection.CLIENT_CLOSED):
            return client_closed()
        case Lost(reason=reason):
            return unreachable(settings, reason)
        case Refused(message=message):
            return OnlineStoreError(
                f"Cassandra at {where} refuses user {settings.username!r} ({message}); check online.username, and the "
                "password in the variable that online.password_env names"
            )
        case ServerError(code=frames.UNAUTHORIZED, message=message):
            return OnlineStoreError(
                f"Cassandra at {where} refuses user {settings.username!r} ({message}); give it the right to SELECT"
            )
        case ServerError(code=frames.INVALID, message=message):
            if tells_of_no_table(message):
                return NotLoadedError(view.reference, f"{name} at {where}: {message}")
            return OnlineStoreError(f"{name} at {where}: {message}; run `features apply`, then load")
        case ServerError(code=frames.UNAVAILABLE, message=message):
            return OnlineStoreError(
                f"Cassandra at {where} has too few live replicas for consistency {settings.consistency}: {message}"
            )
        case ServerError() as error:
            return OnlineStoreError(f"Cassandra at {where} failed to read {name}: {error}")
    return OnlineStoreError(f"{name} at {where} was answered by {type(outcome).__name__}")


def unreachable(settings: OnlineSettings, why: str) -> OnlineStoreError:
    """The error of a cluster that does not answer, for a reason in a few words."""
    return OnlineStoreError(f"Cassandra at {addresses_of(settings)} does not answer: {why}; {_remedy(settings)}")


def tells_of_no_table(message: str) -> bool:
    """Whether Cassandra refuses a statement since its table, or keyspace, is not there."""
    return "unconfigured table" in message or "does not exist" in message


def addresses_of(settings: OnlineSettings) -> str:
    """Host and port of each node that the settings name, for messages."""
    return ", ".join(f"{host}:{settings.port}" for host in settings.hosts)


def client_closed() -> OnlineStoreError:
    """The error of a read that `close` overtook."""
    return OnlineStoreError("the client was closed while it read; close it once nothing reads any more")


def _remedy(settings: OnlineSettings) -> str:
    if all(_is_loopback(host) for host in settings.hosts):
        return "start one with `features cassandra start`, or check online.hosts and online.port in conf"
    return "check online.hosts, online.port and online.datacenter in conf"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
