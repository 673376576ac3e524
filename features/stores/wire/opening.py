"""Opening a connection: which hosts answer, TCP, TLS, the handshake, and the password where one is asked for."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from features.stores.wire import frames
from features.stores.wire.connection import Answer, Connection, Lost, Reply
from features.stores.wire.frames import ServerError

# How long hosts may take to answer behind the first that does.
_GRACE_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Access:
    """How this client presents itself. tls: None where the cluster speaks plain TCP."""

    username: str | None = None
    password: str = ""
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Access(username={self.username!r}, tls={self.tls is not None})"


class ConnectError(Exception):
    """No connection came about; the message says why, in one line."""


class RefusedCredentialsError(ConnectError):
    """The server answered, and does not let this client in."""


async def open_connection(host: str, port: int, access: Access, *, timeout_seconds: float) -> Connection:
    """A connection that is ready for requests.

    Raises: ConnectError: nothing answers within the timeout, or in another protocol; RefusedCredentialsError.
    """
    loop = asyncio.get_running_loop()
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            _, connection = await loop.create_connection(Connection, host, port, ssl=access.tls)
            await _shake_hands(connection, access)
    except TimeoutError as exc:
        _give_up(connection, "the handshake timed out")
        raise ConnectError("timed out") from exc
    except (OSError, ssl.SSLError) as exc:
        _give_up(connection, "the handshake failed")
        raise ConnectError(str(exc) or type(exc).__name__) from exc
    except BaseException:
        _give_up(connection, "the handshake failed")
        raise
    connection.watch()
    return connection


async def answering(
    addresses: Sequence[tuple[str, int]], tls: ssl.SSLContext | None, *, timeout_seconds: float
) -> list[tuple[str, int]]:
    """Those of some addresses where a node answers, all asked at once: a node that hangs holds up none of the others.

    Those that answer within the timeout, or a moment behind the first that does; maybe none. Nobody logs in.
    """
    tries = {asyncio.create_task(_answers(host, port, tls)): (host, port) for host, port in addresses}
    try:
        for first in asyncio.as_completed(tries, timeout=timeout_seconds):
            if await first:
                await asyncio.wait(tries, timeout=_GRACE_SECONDS)
                break
        return [address for task, address in tries.items() if task.done() and task.result()]
    except TimeoutError:
        return []
    finally:
        for task in tries:
            task.cancel()


async def ask(connection: Connection, opcode: int, body: bytes) -> Answer:
    """The answer to one request."""
    exchange = connection.send(opcode, [body])
    try:
        await exchange.wait()
    finally:
        exchange.abandoned = True
    return exchange.answers[0]


async def _answers(host: str, port: int, tls: ssl.SSLContext | None) -> bool:
    """Whether a node there answers before any login."""
    loop = asyncio.get_running_loop()
    try:
        # Apart from the connection: uvloop complains of names that cannot be resolved where nobody waits any more.
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ip, name = str(found[0][4][0]), host if tls else None
        _, connection = await loop.create_connection(Connection, ip, port, ssl=tls, server_hostname=name)
    except (OSError, ssl.SSLError, UnicodeError):
        return False
    try:
        answer = await ask(connection, frames.OPTIONS, b"")
        return isinstance(answer, Reply) and answer.opcode == frames.SUPPORTED
    finally:
        connection.close("it was only asked whether it answers")


async def _shake_hands(connection: Connection, access: Access) -> None:
    answer = await ask(connection, frames.STARTUP, frames.startup())
    if isinstance(answer, Reply) and answer.opcode == frames.AUTHENTICATE:
        if access.username is None:
            raise RefusedCredentialsError("the cluster wants a user name and a password")
        credentials = frames.plain_credentials(access.username, access.password)
        answer = await ask(connection, frames.AUTH_RESPONSE, credentials)
    match answer:
        case Reply(opcode=frames.READY | frames.AUTH_SUCCESS):
            return
        case ServerError(code=frames.BAD_CREDENTIALS, message=message):
            raise RefusedCredentialsError(message)
        case Lost(reason=reason):
            raise ConnectError(reason)
        case _:
            raise ConnectError(f"the handshake was answered by {answer!r}")


def _give_up(connection: Connection | None, reason: str) -> None:
    if connection is not None:
        connection.close(reason)
