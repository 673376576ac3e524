"""Join keys as Cassandra serialises them, and the partition key that they make together."""

import struct
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from features.core.dtypes import DType
from features.core.times import to_micros
from features.stores.cassandra_values import rescale

# The protocol counts the days of a `date` from 2^31 days before 1970, Python from the year 1.
DATE_OFFSET = (1 << 31) - date(1970, 1, 1).toordinal()
_INT, _LONG, _DAYS, _SHORT = struct.Struct(">i"), struct.Struct(">q"), struct.Struct(">I"), struct.Struct(">H")
# Longer ones can be neither stored nor asked for.
_MAX_BYTES = 65535

Serialise = Callable[[Any], bytes]


def key_serialiser(dtype: DType) -> Serialise:
    """The function that serialises a value of a join key that is not null."""
    if dtype.kind == "decimal":
        return lambda number: _decimal(number, dtype)
    return _SERIALISERS[dtype.kind]


def partition_key(parts: Sequence[bytes]) -> bytes | None:
    """The partition key of serialised join keys; None: no row can have it.

    Cassandra stores none that is empty, or over 64 KiB.
    """
    if len(parts) == 1:
        return parts[0] if 0 < len(parts[0]) <= _MAX_BYTES else None
    if any(len(part) > _MAX_BYTES for part in parts):
        return None
    key = b"".join([_SHORT.pack(len(part)) + part + b"\0" for part in parts])
    return key if len(key) <= _MAX_BYTES else None


def _timestamp(moment: datetime) -> bytes:
    return _LONG.pack(to_micros(moment))


def _date(day: date) -> bytes:
    return _DAYS.pack(day.toordinal() + DATE_OFFSET)


def _bool(flag: bool) -> bytes:
    return b"\1" if flag else b"\0"


def _decimal(number: Decimal | int, dtype: DType) -> bytes:
    # Partitions are found by the bytes of their key, and 1.5 and 1.50 differ in them.
    sign, digits, exponent = rescale(number, dtype).as_tuple()
    unscaled = int("".join(map(str, digits)) or "0") * (-1 if sign else 1)
    # As BigInteger.toByteArray: two's complement, no byte more than the sign needs.
    length = (unscaled + (unscaled < 0)).bit_length() // 8 + 1
    return _INT.pack(-int(exponent)) + unscaled.to_bytes(length, "big", signed=True)


_SERIALISERS: dict[str, Serialise] = {
    "bool": _bool, "int32": _INT.pack, "int64": _LONG.pack, "string": str.encode, "bytes": bytes, "date": _date,
    "timestamp": _timestamp,
}  # fmt: skip
