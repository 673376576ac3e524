"""Splitting a training set by time, with a gap, or by a hash of keys: by rules, so that it can be repeated."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from features.core.checks import check_name
from features.core.times import duration_micros, format_instant, parse_instant, to_micros
from features.errors import DefinitionError, UsageError
from features.stores.log_state import EVENT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# The column, or folder level, that names a row's part.
SPLIT = "split"
# A row's part as a number: an index of `names`, or none of them.
NONE = -1

_HASHES = 1 << 64


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeSplit:
    """Parts by event_timestamp, one after another: each ends where the next one's gap begins.

        TimeSplit(ends={"train": "2024-03-01T00:00Z", "test": None}, gap=timedelta(days=7))

    puts rows before March 1 in train, and rows from March 8 on in test.

    ends: by part, in order of time, its end (not included); None, for the last one alone: no end. Aware datetimes, or
        ISO strings with an offset.
    gap: rows with end <= event_timestamp < end + gap belong to no part; so do rows at or after the last end. Windows
        and labels that reach across a boundary would tell one part of the other: make it as long as the longest.
    """

    ends: Mapping[str, datetime | str | None]
    gap: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        _check_parts(self.ends, owner="TimeSplit")
        if not isinstance(self.gap, timedelta) or self.gap < timedelta(0):
            raise UsageError(f"TimeSplit: gap must be a timedelta of zero or more, got {self.gap!r}")
        names = list(self.ends)
        ends = {n: None if e is None else parse_instant(e, name=f"TimeSplit {n}") for n, e in self.ends.items()}
        for earlier, later in pairwise(names):
            before, after = ends[earlier], ends[later]
            if before is None:
                raise UsageError(f"TimeSplit: {earlier!r} has no end, so {later!r} could hold nothing; give it one")
            # A difference: the sum may lie beyond the year 9999.
            if after is not None and after - before <= self.gap:
                raise UsageError(f"TimeSplit: {later!r} must end after {format_instant(before)} and the gap")
        object.__setattr__(self, "ends", MappingProxyType(ends))

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, in order."""
        return tuple(self.ends)

    def columns(self, keys: Sequence[str]) -> tuple[str, ...]:
        """What a row's part depends on, of a set with these join keys."""
        return (EVENT,)

    def bound_to(self, keys: Sequence[str]) -> "TimeSplit":
        """The same: it needs no keys."""
        return self

    def assign(self, batch: "pa.RecordBatch") -> "np.ndarray[Any, np.dtype[np.int64]]":
        """The part of each row, shape (rows,): an index of `names`, or NONE."""
        import numpy as np
        import pyarrow as pa

        times = batch.column(EVENT).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy(zero_copy_only=False)
        bounds = [to_micros(end) for end in self.ends.values() if isinstance(end, datetime)]
        part: np.ndarray[Any, np.dtype[np.int64]] = np.searchsorted(np.array(bounds, np.int64), times, side="right")
        gap = duration_micros(self.gap)
        if bounds and gap:
            previous = np.array(bounds, np.int64)[np.maximum(part - 1, 0)]
            part[(part > 0) & (times - previous < gap)] = NONE
        part[part >= len(self.ends)] = NONE
        return part

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        ends = {name: format_instant(end) if isinstance(end, datetime) else None for name, end in self.ends.items()}
        return {"by": "time", "ends": ends, "gap_microseconds": duration_micros(self.gap)}


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyHashSplit:
    """Parts by a hash of join keys: all rows of a key are in one part, whatever the run, engine or type of the key.

        KeyHashSplit(shares={"train": 0.8, "test": 0.2}, keys=("customer",))

    A row's number is that of the first 8 bytes, big-endian, of SHA-256 over the UTF-8 text

        salt, then for each key `<length in bytes>:<text>`

    divided by 2**64; its part is the one in whose stretch of [0, 1) it lies, parts laid out in order. The text of a
    value: an integer in decimal digits, a string itself, a bool `true` or `false`, a date in ISO, a timestamp its
    microseconds since 1970 UTC, a decimal in plain digits without trailing zeros, bytes in lower-case hex; of a null
    the single character `~`, without a length. So int32 7, int64 7 and decimal 7.00 are one key.

    shares: by part, more than 0, together 1. keys: which columns; None: all join keys of the set.
    salt: any text; another salt, another draw.
    """

    shares: Mapping[str, float]
    keys: Sequence[str] | None = None
    salt: str = ""

    def __post_init__(self) -> None:
        _check_parts(self.shares, owner="KeyHashSplit")
        for name, share in self.shares.items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not share > 0:
                raise UsageError(f"KeyHashSplit: the share of {name!r} must be a number above 0, got {share!r}")
        total = sum((Decimal(str(share)) for share in self.shares.values()), Decimal(0))
        if abs(total - 1) > Decimal("1e-9"):
            raise UsageError(f"KeyHashSplit: the shares add up to {total}; they must add up to 1")
        if max(self._bounds(), default=0) >= _HASHES:
            # Shares may be off by the rounding of floats, which must not leave the last part without any number.
            last, share = tuple(self.shares.items())[-1]
            raise UsageError(
                f"KeyHashSplit: the parts before {last!r} add up to 1 already, which leaves nothing of its share "
                f"{share!r}; make theirs smaller, or leave it out"
            )
        _check_salt(self.salt)
        if self.keys is not None:
            object.__setattr__(self, "keys", _freeze_keys(self.keys))
        object.__setattr__(self, "shares", MappingProxyType(dict(self.shares)))

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, in order."""
        return tuple(self.shares)

    def columns(self, keys: Sequence[str]) -> tuple[str, ...]:
        """What a row's part depends on, of a set with these join keys."""
        return tuple(keys if self.keys is None else self.keys)

    def bound_to(self, keys: Sequence[str]) -> "KeyHashSplit":
        """The same, with the keys that it means in a set with these join keys."""
        return KeyHashSplit(shares=self.shares, keys=self.columns(keys), salt=self.salt)

    def assign(self, batch: "pa.RecordBatch") -> "np.ndarray[Any, np.dtype[np.int64]]":
        """The part of each row, shape (rows,): an index of `names`. The split must know its keys: see `bound_to`.

        Raises: UsageError: a key is a column of floats, lists or structs, whose values have no text of their own.
        """
        import numpy as np

        keys = self.columns(())
        for key in keys:
            _check_key(key, batch.column(key).type)
        distinct, numbers = _number_rows([batch.column(key) for key in keys])
        texts = [[_text(value) for value in column.to_pylist()] for column in distinct]
        salt = self.salt.encode()
        hashes = np.fromiter((_hash(salt, row) for row in zip(*texts, strict=True)), np.uint64, count=len(texts[0]))
        parts = np.searchsorted(np.array(self._bounds(), np.uint64), hashes, side="right").astype(np.int64)
        found: np.ndarray[Any, np.dtype[np.int64]] = parts[numbers]
        return found

    def _bounds(self) -> list[int]:
        """The first hash behind each part but the last."""
        shares = [Decimal(str(share)) for share in self.shares.values()]
        return [int(sum(shares[: place + 1]) * _HASHES) for place in range(len(shares) - 1)]

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        shares = {name: float(share) for name, share in self.shares.items()}
        return {"by": "key hash", "shares": shares, "keys": list(self.columns(())), "salt": self.salt}


Splits = TimeSplit | KeyHashSplit


def check_splits(splits: Splits, columns: Sequence[str], keys: Sequence[str]) -> Splits:
    """The rule as it applies to a set with these columns and join keys.

    Raises: UsageError: it is none, needs a column that is not there, or the set has a column named like the parts'.
    """
    if not isinstance(splits, TimeSplit | KeyHashSplit):
        raise UsageError(f"splits must be a TimeSplit or a KeyHashSplit, got {type(splits).__name__}")
    if SPLIT in columns:
        raise UsageError(f"the set has a column {SPLIT!r}, which would name the parts; rename it in entity_df")
    for name in splits.columns(keys):
        if name not in columns:
            raise UsageError(f"splits: no column {name!r}; the set has {', '.join(columns)}")
    return splits.bound_to(keys)


def _check_parts(parts: object, *, owner: str) -> None:
    if not isinstance(parts, Mapping) or len(parts) == 0:
        raise UsageError(f"{owner}: name at least one part, such as train")
    for name in parts:
        try:
            check_name(name, owner=owner, field="part")
        except DefinitionError as exc:
            raise UsageError(str(exc)) from exc


def _check_salt(salt: object) -> None:
    if not isinstance(salt, str):
        raise UsageError(f"KeyHashSplit: salt must be a string, got {type(salt).__name__}")
    try:
        salt.encode()
    except UnicodeEncodeError as exc:
        raise UsageError(f"KeyHashSplit: salt {salt!r} has no UTF-8: {exc.reason}; choose another") from exc


def _freeze_keys(given: object) -> tuple[str, ...]:
    keys = (given,) if isinstance(given, str) else given
    if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
        raise UsageError(f"KeyHashSplit: keys must be a list of columns, got {given!r}")
    if not keys:
        raise UsageError("KeyHashSplit: keys is empty; name a join key, or leave it out for all of them")
    return tuple(keys)


def _check_key(name: str, dtype: "pa.DataType") -> None:
    import pyarrow as pa

    # 2.0 would be another text than the 2 of an integer column, and pandas makes the one of the other for one null.
    if pa.types.is_floating(dtype) or pa.types.is_nested(dtype):
        raise UsageError(
            f"KeyHashSplit: column {name!r} is {dtype}, whose values are no keys; cast it to an integer, a decimal or "
            "a string, or name another in keys"
        )


def _number_rows(columns: "Sequence[pa.Array]") -> "tuple[list[pa.Array], np.ndarray[Any, Any]]":
    """The distinct rows, column by column, and for each row which of them it is."""
    import numpy as np
    import pyarrow as pa

    encoded = [column.dictionary_encode(null_encoding="encode") for column in columns]
    combined = np.zeros(len(columns[0]), np.int64)
    for column in encoded:
        codes = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        _, combined = np.unique(combined * max(len(column.dictionary), 1) + codes, return_inverse=True)
    _, first, numbers = np.unique(combined, return_index=True, return_inverse=True)
    return [column.take(pa.array(first)) for column in columns], numbers


def _text(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, bytes):
        return value.hex().encode()
    if isinstance(value, datetime):
        return str(to_micros(value if value.tzinfo is not None else value.replace(tzinfo=UTC))).encode()
    if isinstance(value, Decimal):
        plain = f"{value:f}"
        whole = plain.rstrip("0").rstrip(".") if "." in plain else plain
        return (whole if whole not in ("-0", "") else "0").encode()
    return str(value).encode()


def _hash(salt: bytes, key: tuple[bytes | None, ...]) -> int:
    text = salt + b"".join(b"~" if part is None else b"%d:%s" % (len(part), part) for part in key)
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
