"""Roles of a cluster that demands passwords: who reads a keyspace, who loads it, and nothing else."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cassandra import InvalidRequest, Unauthorized
from cassandra.cluster import NoHostAvailable, Session

from features.config import OnlineSettings, read_secret
from features.errors import OnlineStoreError
from features.stores import cql
from features.stores.cassandra_schema import ensure_keyspace
from features.stores.cassandra_session import VENDOR_ERRORS, connect, explain, first_line

_TOO_SOON = "can only be changed every"
_ATTEMPTS = 8
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """A role that logs in, and what it may do in one keyspace.

    password_env: the environment variable that holds its password.
    """

    name: str
    permissions: tuple[str, ...]
    password_env: str

    @classmethod
    def reader(cls, name: str = "features_reader", *, password_env: str) -> "Role":
        """For apps and `features serve`: reads, and nothing more."""
        return cls(name=name, permissions=("SELECT",), password_env=password_env)

    @classmethod
    def writer(cls, name: str = "features_writer", *, password_env: str) -> "Role":
        """For loads: makes the tables of new versions, writes, reads back what it wrote, and drops."""
        permissions = ("SELECT", "MODIFY", "CREATE", "ALTER", "DROP")
        return cls(name=name, permissions=permissions, password_env=password_env)


def ensure_roles(settings: OnlineSettings, roles: Sequence[Role]) -> list[str]:
    """Make roles and the keyspace where they are missing; bring passwords and permissions up to date.

    A role keeps no permission on the keyspace but its own; what it may do elsewhere stays. Nothing that it needs is
    taken from it meanwhile, so it may be in use. Nodes keep permissions and passwords for a while:
    `permissions_validity` and `credentials_validity` of cassandra.yaml, 2 s by default.

    Args:
        settings: with the user who makes them, and the keyspace.
        roles: what is wanted.

    Returns:
        "created" or "updated", beside the roles.

    Raises:
        OnlineStoreError: Cassandra cannot be reached, has no passwords switched on, or refuses this to the user.
        ConfigError: the environment variable of a password is not set.
    """
    passwords = [read_secret(f"the password of {role.name}", role.password_env).get_secret_value() for role in roles]
    session = connect(settings)
    try:
        ensure_keyspace(session, settings)
        return [
            _ensure_role(session, settings.keyspace, role, password)
            for role, password in zip(roles, passwords, strict=True)
        ]
    except (InvalidRequest, Unauthorized) as exc:
        if isinstance(exc, Unauthorized) and "anonymous" not in str(exc):
            raise explain(exc, settings) from exc
        raise OnlineStoreError(
            f"roles cannot be made: {first_line(exc)}; they need a server with PasswordAuthenticator and "
            "CassandraAuthorizer (an embedded one: `features cassandra start --auth`)"
        ) from exc
    except VENDOR_ERRORS as exc:
        raise explain(exc, settings) from exc
    finally:
        session.cluster.shutdown()


def _ensure_role(session: Session, keyspace: str, role: Role, password: str) -> str:
    known = {row[0] for row in session.execute(cql.LIST_ROLES)}
    if role.name not in known:
        session.execute(cql.create_role(role.name))
    granted = {permission for *_, permission in session.execute(cql.list_permissions(keyspace, role.name))}
    for permission in sorted(set(role.permissions) - granted):
        session.execute(cql.grant(permission, keyspace, role.name))
    for permission in sorted(granted - set(role.permissions)):
        session.execute(cql.revoke(permission, keyspace, role.name))
    # Last: a role that could not be finished lets nobody in.
    _alter_login(session, role.name, password)
    return "updated" if role.name in known else "created"


def _alter_login(session: Session, role: str, password: str) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            session.execute(cql.alter_login(role, password))
            return
        except NoHostAvailable as exc:
            # Hashing takes the server's time, so it accepts a password of one role every few seconds only.
            if _TOO_SOON not in str(exc) or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE_SECONDS)
