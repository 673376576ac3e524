"""Which keys a canary answers for: the same ones in every process, on every machine, in every language.

A key's place is the first 8 bytes, as a big-endian number p, of the SHA-256 of its parts: the view's name, the salt,
then the values of its join keys in order; each part as a 4-byte big-endian length and that many bytes. The candidate
answers where p * 10,000 < share * 2^64, the share in basis points: so a greater share keeps the keys of a smaller one.
Bytes of a value: text in UTF-8 · bytes as they are · integers in decimal digits · `true` or `false` · dates as
2024-01-31 · timestamps as microseconds since 1970 UTC, in digits · decimals in digits with as many behind the point as
their type has, zero without a sign. docs/rollout.md has examples to test another implementation with.
"""

import hashlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal

from features.core.dtypes import DType
from features.core.rollout import FULL_SHARE, ViewRollout
from features.core.times import to_micros

Arm = Literal["live", "candidate"]


def arm(rollout: ViewRollout, key: Sequence[Any], dtypes: Sequence[DType]) -> Arm:
    """Which version answers for a key; "live" without a canary, and for a key with a null in it.

    Args:
        rollout: of the view.
        key: values of the view's join keys, in order.
        dtypes: their types.
    """
    return "candidate" if picks_candidate(rollout, (key,), dtypes)[0] else "live"


def picks_candidate(rollout: ViewRollout, keys: Sequence[Sequence[Any]], dtypes: Sequence[DType]) -> list[bool]:
    """For each of many keys, whether the candidate answers: `arm`, faster."""
    if rollout.candidate is None:
        return [False] * len(keys)
    start = hashlib.sha256(_part(rollout.view.encode()) + _part(rollout.salt.encode()))
    encoders = [_encoder(dtype) for dtype in dtypes]
    limit = rollout.share << 64
    picked = []
    for key in keys:
        if None in key:
            picked.append(False)
            continue
        digest = start.copy()
        for value, encode in zip(key, encoders, strict=True):
            digest.update(_part(encode(value)))
        picked.append(int.from_bytes(digest.digest()[:8]) * FULL_SHARE < limit)
    return picked


def _part(content: bytes) -> bytes:
    return len(content).to_bytes(4) + content


def _encoder(dtype: DType) -> Callable[[Any], bytes]:
    """How values of a join key's type become bytes."""
    match dtype.kind:
        case "string":
            return str.encode
        case "bytes":
            return bytes
        case "bool":
            return lambda value: b"true" if value else b"false"
        case "date":
            return lambda value: str(value.isoformat()).encode()
        case "timestamp":
            return lambda value: b"%d" % to_micros(value)
        case "decimal":
            return lambda value: _digits(value, dtype.scale)
        case _:
            return lambda value: b"%d" % value


def _digits(value: Decimal | int, scale: int) -> bytes:
    # Zero has one spelling, and it has no sign.
    return f"{Decimal(value) or Decimal(0):.{scale}f}".encode()
