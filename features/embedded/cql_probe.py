"""Whether a CQL server is ready, asked in a few bytes of its native protocol: no driver, no session."""

import socket
import ssl
import struct
from contextlib import suppress

# Version 4: one frame, one message.
_VERSION = 4
_STARTUP, _READY, _AUTHENTICATE, _OPTIONS, _SUPPORTED, _AUTH_RESPONSE, _AUTH_SUCCESS = 1, 2, 3, 5, 6, 15, 16
_HEADER = struct.Struct(">BBhBi")


def answers_cql(host: str, port: int, *, context: ssl.SSLContext | None = None, timeout_seconds: float = 2.0) -> bool:
    """Whether a CQL server there is ready for clients; OPTIONS are asked before any login.

    Args:
        host: address.
        port: CQL's.
        context: what to wrap the connection in; None: plain. A plain question to a TLS port is never answered.
        timeout_seconds: of each step.
    """
    with suppress(OSError), _connect(host, port, context, timeout_seconds) as connection:
        return _ask(connection, _OPTIONS, b"") == _SUPPORTED
    return False


def logs_in(host: str, port: int, user: str, password: str, *, context: ssl.SSLContext | None = None) -> bool:
    """Whether a CQL server there lets a user in: also where it asks nobody for a password."""
    with suppress(OSError), _connect(host, port, context, 10.0) as connection:
        options = {"CQL_VERSION": "3.4.5"}
        body = struct.pack(">h", len(options)) + b"".join(_text(word) for pair in options.items() for word in pair)
        answer = _ask(connection, _STARTUP, body)
        if answer == _AUTHENTICATE:
            token = f"\0{user}\0{password}".encode()
            answer = _ask(connection, _AUTH_RESPONSE, struct.pack(">i", len(token)) + token)
        return answer in (_READY, _AUTH_SUCCESS)
    return False


def _connect(host: str, port: int, context: ssl.SSLContext | None, timeout_seconds: float) -> socket.socket:
    plain = socket.create_connection((host, port), timeout=timeout_seconds)
    if context is None:
        return plain
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except OSError:
        plain.close()
        raise


def _ask(connection: socket.socket, opcode: int, body: bytes) -> int:
    """The opcode of the answer. Raises: OSError: there is none, or it is not of this protocol."""
    connection.sendall(_HEADER.pack(_VERSION, 0, 0, opcode, len(body)) + body)
    version, _, _, answer, length = _HEADER.unpack(_receive(connection, _HEADER.size))
    if not version & 0x80:
        raise ConnectionError("not an answer of a CQL server")
    _receive(connection, length)
    return int(answer)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("the server closed the connection")
        received += part
    return received


def _text(word: str) -> bytes:
    return struct.pack(">h", len(word)) + word.encode()
