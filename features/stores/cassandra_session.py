"""Connecting to Cassandra, and what its failures mean in the words of the feature store."""

import logging
import ssl
from typing import Any

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    Unauthorized,
    Unavailable,
    UnresolvableContactPoints,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import (
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    TokenAwarePolicy,
)
from cassandra.query import SimpleStatement, tuple_factory

from features.config import OnlineSettings
from features.errors import OnlineStoreError
from features.stores.read_errors import addresses_of, tells_of_no_table, unreachable
from features.stores.tls import client_context, explain_tls
from features.stores.wire.loop_thread import LoopThread
from features.stores.wire.opening import answering

# All that the driver raises for reasons outside this code.
VENDOR_ERRORS = (DriverException, NoHostAvailable, ConnectionException, OSError)
_MAX_RECONNECT_SECONDS = 5.0
_PROTOCOL_VERSION = 5
# How long one of several nodes may take to answer a connection. A session waits so long for one that hangs now and
# then, whoever else is connected; the driver goes on trying in the background.
_MAX_CONNECT_SECONDS = 2.0
# How long live nodes may take to agree on a changed schema. A node that was down when it changed asks for it by itself
# a minute after its start at the latest.
AGREEMENT_SECONDS = 70.0
# Questions that any node answers at once are put to the next one behind this: one that hangs would take the timeout.
_QUESTIONS = "questions"
_PATIENCE_SECONDS = 0.5


def connect(settings: OnlineSettings) -> Session:
    """A new session, whose rows are tuples. Its cluster must be shut down by the caller.

    Raises:
        OnlineStoreError: no host answers within about `timeout_seconds`, or they refuse the credentials.
        ConfigError: the environment variable of the password is not set, or a file of `online.tls` is not usable.
    """
    _quiet_driver()
    password = settings.password()
    authentication = None
    if settings.username is not None:
        secret = "" if password is None else password.get_secret_value()
        authentication = PlainTextAuthProvider(settings.username, secret)
    tls = client_context(settings)
    hosts = _answering(settings, tls)
    # Hosts are tried one after another.
    each = settings.timeout_seconds / len(hosts)
    cluster = None
    try:
        cluster = Cluster(
            contact_points=hosts,
            port=settings.port,
            auth_provider=authentication,
            ssl_context=tls,
            execution_profiles={
                EXEC_PROFILE_DEFAULT: _profile(settings),
                _QUESTIONS: _profile(settings, ConstantSpeculativeExecutionPolicy(_PATIENCE_SECONDS, len(hosts))),
            },
            # Pinned: negotiation logs a warning for each version that it gives up.
            protocol_version=_PROTOCOL_VERSION,
            connect_timeout=min(each, _MAX_CONNECT_SECONDS) if len(settings.hosts) > 1 else each,
            control_connection_timeout=each,
            reconnection_policy=ExponentialReconnectionPolicy(0.2, _MAX_RECONNECT_SECONDS),
            max_schema_agreement_wait=AGREEMENT_SECONDS,
        )
        return cluster.connect()
    except (*VENDOR_ERRORS, UnicodeError) as exc:
        if cluster is not None:
            cluster.shutdown()
        raise explain(exc, settings) from exc


def ask(session: Session, query: str, values: tuple[Any, ...]) -> Any:
    """The rows of a question about the schema, of whichever node answers first. Raises: the driver's errors."""
    return session.execute(SimpleStatement(query, is_idempotent=True), values, execution_profile=_QUESTIONS)


def explain(exc: Exception, settings: OnlineSettings) -> OnlineStoreError:
    """The error that tells a user what a failure of the driver means, and what to do next."""
    where = addresses_of(settings)
    causes = _causes(exc)
    for cause in causes:
        if isinstance(cause, AuthenticationFailed | Unauthorized):
            who = f"user {settings.username!r}" if settings.username else "a client without a user name"
            return OnlineStoreError(
                f"Cassandra at {where} refuses {who} ({first_line(cause)}); check online.username, its permissions, "
                "and the password in the variable that online.password_env names"
            )
        if (why := explain_tls(cause, settings)) is not None:
            return OnlineStoreError(f"Cassandra at {where} {why}")
    if isinstance(exc, InvalidRequest):
        text = first_line(exc)
        if tells_of_no_table(text):
            return OnlineStoreError(f"keyspace {settings.keyspace} at {where}: {text}; run `features apply`, then load")
        return OnlineStoreError(f"Cassandra at {where} refuses the statement: {text}")
    if isinstance(exc, UnresolvableContactPoints | UnicodeError):
        return OnlineStoreError(f"no address is known for any of {where}; check online.hosts in conf")
    if isinstance(exc, NoHostAvailable | ConnectionException | OperationTimedOut | OSError):
        return unreachable(settings, _reason(causes))
    if isinstance(exc, Unavailable):
        return OnlineStoreError(
            f"Cassandra at {where} has too few live replicas for consistency {settings.consistency}: {first_line(exc)}"
        )
    return OnlineStoreError(f"Cassandra at {where} failed: {type(exc).__name__}: {first_line(exc)}")


def _profile(
    settings: OnlineSettings, speculation: ConstantSpeculativeExecutionPolicy | None = None
) -> ExecutionProfile:
    return ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=settings.datacenter)),
        consistency_level=ConsistencyLevel.name_to_value[settings.consistency],
        request_timeout=settings.timeout_seconds,
        row_factory=tuple_factory,
        speculative_execution_policy=speculation,
    )


def _answering(settings: OnlineSettings, tls: ssl.SSLContext | None) -> list[str]:
    """The hosts to begin with: those that answer, all where none does, so that the driver says why.

    The driver tries one after another, and spends seconds on each that accepts connections and says nothing.
    """
    hosts = list(settings.hosts)
    if len(hosts) == 1:
        return hosts
    # A thread of its own: this one may have an event loop that runs already.
    thread = LoopThread("online-hosts")
    try:
        addresses = [(host, settings.port) for host in hosts]
        found = thread.run(answering(addresses, tls, timeout_seconds=settings.timeout_seconds / len(hosts)))
        return [host for host, _ in found] or hosts
    finally:
        thread.stop()


def _quiet_driver() -> None:
    # The driver logs each failed attempt with a traceback; what matters of it is in the error that is raised.
    logger = logging.getLogger("cassandra")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


def _causes(exc: Exception) -> list[Exception]:
    """The errors by host, or the error itself."""
    by_host: Any = getattr(exc, "errors", None)
    errors = list(by_host.values()) if isinstance(by_host, dict) else []
    return [error for error in errors if isinstance(error, Exception)] or [exc]


def _reason(causes: list[Exception]) -> str:
    cause = causes[0]
    if isinstance(cause, OperationTimedOut | TimeoutError):
        return "timed out"
    if isinstance(cause, NoHostAvailable):
        return "no host is up in the datacenter that online.datacenter names"
    return first_line(cause)


def first_line(exc: Exception) -> str:
    """What a driver's error says, cut to its first line."""
    text = str(getattr(exc, "message", None) or exc) or type(exc).__name__
    return text.splitlines()[0][:300]
