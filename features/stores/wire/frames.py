"""Frames of Cassandra's native protocol, version 4: what a reader sends, and what it is answered. Bytes in, bytes out.

Version 4 rather than 5: the latter wraps frames into checksummed segments, whose header takes a CRC-24 that Python
computes bit by bit; TLS or TCP guard the bytes already.

Source: native_protocol_v4.spec of Apache Cassandra, sections 2 (frame header), 4 (messages) and 9 (error codes).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEADER = struct.Struct(">BBhBi")
REQUEST_VERSION = 0x04

ERROR, STARTUP, READY, AUTHENTICATE, OPTIONS, SUPPORTED = 0x00, 0x01, 0x02, 0x03, 0x05, 0x06
RESULT, PREPARE, EXECUTE = 0x08, 0x09, 0x0A
AUTH_RESPONSE, AUTH_SUCCESS = 0x0F, 0x10

CONSISTENCY = {"ONE": 0x01, "QUORUM": 0x04, "ALL": 0x05, "LOCAL_QUORUM": 0x06, "LOCAL_ONE": 0x0A}

_RESULT_ROWS, _RESULT_PREPARED = 2, 4
_HAS_VALUES, _SKIP_METADATA = 0x01, 0x02
_NO_METADATA, _HAS_MORE_PAGES = 0x0004, 0x0002
# Flags of a frame's header.
_COMPRESSED, _TRACING, _CUSTOM_PAYLOAD, _WARNING = 0x01, 0x02, 0x04, 0x08
_TRACING_ID_BYTES = 16
_INT = struct.Struct(">i")
_SHORT = struct.Struct(">H")
_ROWS_HEAD = struct.Struct(">iiii")
ROWS_START = _ROWS_HEAD.size
# Above this, an answer is damaged rather than long: the server's own limit on a frame is 16 MiB by default.
MAX_BODY_BYTES = 256 << 20

BAD_CREDENTIALS = 0x0100
UNAVAILABLE, OVERLOADED, BOOTSTRAPPING = 0x1000, 0x1001, 0x1002
READ_TIMEOUT, READ_FAILURE = 0x1200, 0x1300
UNAUTHORIZED, INVALID, UNPREPARED = 0x2100, 0x2200, 0x2500
SERVER_ERROR = 0x0000
# Another replica, or the same one a little later, may well answer.
PASSING = frozenset({SERVER_ERROR, UNAVAILABLE, OVERLOADED, BOOTSTRAPPING, READ_TIMEOUT, READ_FAILURE})


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error that the server answered with. code: as in section 9 of the protocol."""

    code: int
    message: str

    def __str__(self) -> str:
        return f"{self.message} (code {self.code:#06x})"


class FrameError(Exception):
    """What arrived is no frame of this protocol: the connection is of no further use."""


def startup() -> bytes:
    """The body of the message that opens a connection."""
    return _SHORT.pack(1) + _string("CQL_VERSION") + _string("3.0.0")


def plain_credentials(username: str, password: str) -> bytes:
    """The body of the answer to AUTHENTICATE: SASL PLAIN, as PasswordAuthenticator wants it (RFC 4616)."""
    token = b"\0" + username.encode() + b"\0" + password.encode()
    return _INT.pack(len(token)) + token


def prepare(statement: str) -> bytes:
    """The body of PREPARE."""
    text = statement.encode()
    return _INT.pack(len(text)) + text


def execute_head(statement_id: bytes, consistency: str, values: int) -> bytes:
    """The body of EXECUTE up to its values: all that the executions of a statement share. Values: see `bound`."""
    flags = _HAS_VALUES | _SKIP_METADATA
    return _SHORT.pack(len(statement_id)) + statement_id + struct.pack(">HBH", CONSISTENCY[consistency], flags, values)


def bound(values: Sequence[bytes]) -> bytes:
    """Serialised values as EXECUTE binds them, each behind its length."""
    return b"".join([_INT.pack(len(value)) + value for value in values])


def bound_list(values: Sequence[bytes]) -> bytes:
    """Serialised values as the one value of `IN ?`: a list of them."""
    items = b"".join([_INT.pack(len(value)) + value for value in values])
    return bound([_INT.pack(len(values)) + items])


def strip_extras(flags: int, body: bytes) -> bytes:
    """The message of a frame, without what its flags say stands before it: tracing id, warnings, custom payload.

    Raises: FrameError: it is compressed, which nobody asked for, or it ends before its message.
    """
    if flags & _COMPRESSED:
        raise FrameError("a compressed frame arrived")
    at = _TRACING_ID_BYTES if flags & _TRACING else 0
    try:
        if flags & _WARNING:
            at = _skip_each(body, at, _skip_string)
        if flags & _CUSTOM_PAYLOAD:
            at = _skip_each(body, at, lambda body, at: _skip_bytes(body, _skip_string(body, at)))
    except struct.error as exc:
        raise FrameError(f"a frame of {len(body)} bytes, flags {flags:#x}, cannot be read: {exc}") from exc
    if at > len(body):
        raise FrameError(f"a frame of {len(body)} bytes, flags {flags:#x}, ends before its message")
    return body[at:]


def read_error(body: bytes) -> ServerError:
    """The error of an ERROR message. Raises: FrameError: it is cut short."""
    try:
        code = _INT.unpack_from(body)[0]
        length = _SHORT.unpack_from(body, 4)[0]
    except struct.error as exc:
        raise FrameError(f"an error of {len(body)} bytes arrived") from exc
    return ServerError(code, bytes(body[6 : 6 + length]).decode(errors="replace"))


def read_statement_id(body: bytes) -> bytes:
    """The id of a statement that was prepared. Raises: FrameError: it is another result."""
    if len(body) < ROWS_START or _INT.unpack_from(body)[0] != _RESULT_PREPARED:
        raise FrameError("a result other than Prepared answered PREPARE")
    length = _SHORT.unpack_from(body, 4)[0]
    return bytes(body[6 : 6 + length])


def count_rows(body: bytes) -> int:
    """How many rows a result has. They begin at ROWS_START: cells, each an int32 length (negative: null), then bytes.

    Raises: FrameError: it is no result of rows without metadata, or it goes on in another page.
    """
    if len(body) < ROWS_START:
        raise FrameError(f"a result of {len(body)} bytes answered a read")
    kind, flags, _, count = _ROWS_HEAD.unpack_from(body)
    if kind != _RESULT_ROWS or not flags & _NO_METADATA or flags & _HAS_MORE_PAGES:
        raise FrameError(f"a result of kind {kind}, flags {flags:#x}, answered a read")
    return int(count)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _SHORT.pack(len(encoded)) + encoded


def _skip_each(body: bytes, at: int, skip: Callable[[bytes, int], int]) -> int:
    """Where a list that begins here ends."""
    count, at = _SHORT.unpack_from(body, at)[0], at + _SHORT.size
    for _ in range(count):
        at = skip(body, at)
    return at


def _skip_string(body: bytes, at: int) -> int:
    return at + _SHORT.size + int(_SHORT.unpack_from(body, at)[0])


def _skip_bytes(body: bytes, at: int) -> int:
    # A negative length: null.
    return at + _INT.size + max(0, int(_INT.unpack_from(body, at)[0]))
