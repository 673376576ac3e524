"""Values as JSON, which has neither instants, nor bytes, nor exact decimals, nor NaN.

timestamp and date: ISO 8601 strings · decimal: a string with all its digits · bytes: base64 · NaN and the infinities:
the strings "NaN", "Infinity", "-Infinity". Integers are JSON numbers: a reader whose numbers are 64-bit floats, as in
JavaScript, must parse those beyond 2^53 with care.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from features.core.dtypes import DType
from features.core.times import format_instant
from features.errors import SpineError, UsageError

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# `Decimal` takes underscores and the digits of other scripts, too.
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# What makes a value of a text raises.
_MISWRITTEN = (KeyError, ValueError, OverflowError, InvalidOperation, binascii.Error)
# Their values are JSON's own, both ways.
_PLAIN = frozenset({"bool", "int32", "int64", "string"})


def to_json(value: Any) -> Any:
    """A feature's value, or a key's, in JSON's types."""
    if isinstance(value, float):
        return _float_to_json(value)
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def column_to_json(values: Sequence[Any], dtype: DType | None) -> Sequence[Any]:
    """A column in JSON's types; itself where its type needs no conversion. dtype: None: it came as JSON."""
    if dtype is None or dtype.kind in _PLAIN:
        return values
    if dtype.is_float:
        # One pass in C says that there is nothing to convert, as nearly always.
        return values if _all_finite(values) else [None if v is None else _float_to_json(v) for v in values]
    return [None if value is None else to_json(value) for value in values]


def read_entity_rows(rows: Sequence[dict[str, Any]], types: Mapping[str, DType]) -> Sequence[dict[str, Any]]:
    """Entity rows out of JSON, with their join keys and request columns in Python's types; the same rows, changed.

    Raises: SpineError: a string is not what its column's type is written as.
    """
    readers = {name: _reader(dtype) for name, dtype in types.items() if dtype.kind not in _PLAIN}
    for name, read in readers.items():
        for number, row in enumerate(rows):
            if name in row:
                try:
                    row[name] = read(row[name])
                except _MISWRITTEN as exc:
                    shown = _shown(row[name])
                    raise SpineError(f"entity_rows[{number}][{name!r}] is not a {types[name]}: {shown}") from exc
    return rows


def read_defaults(defaults: Mapping[str, Any], types: Mapping[str, DType]) -> dict[str, Any]:
    """Defaults of columns out of JSON, in Python's types; those of other columns as they are, for serving to judge.

    Raises: UsageError: a string is not what its column's type is written as.
    """
    found = dict(defaults)
    for name, dtype in types.items():
        if name in found and dtype.kind not in _PLAIN:
            try:
                found[name] = _reader(dtype)(found[name])
            except _MISWRITTEN as exc:
                raise UsageError(f"the default of {name!r} is not a {dtype}: {_shown(found[name])}") from exc
    return found


def _shown(value: Any) -> str:
    # Any length of text may have been sent.
    return repr(value)[:60]


def _float_to_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _all_finite(values: Sequence[Any]) -> bool:
    try:
        return all(map(math.isfinite, values))
    except TypeError:
        # There are nulls.
        return all(math.isfinite(value) for value in values if value is not None)


def _reader(dtype: DType) -> Callable[[Any], Any]:
    """What makes a column's value of a JSON value; one of another kind than text is left for serving to judge."""
    if dtype.is_list:
        read = _reader(dtype.element or DType.FLOAT32)
        return lambda value: [read(item) for item in value] if isinstance(value, list) else value
    read_text = _TEXT.get(dtype.kind, _NOT_FINITE.__getitem__ if dtype.is_float else str)
    return lambda value: read_text(value) if isinstance(value, str) else value


def _read_decimal(text: str) -> Decimal:
    if not _DECIMAL.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


_TEXT: Mapping[str, Callable[[str], Any]] = {
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": _read_decimal,
    "bytes": lambda text: base64.b64decode(text, validate=True),
}
