"""Values as JSON, which has neither instants, nor bytes, nor exact decimals, nor NaN.

timestamp and date: ISO 8601 strings · decimal: a string with all its digits · bytes: base64 · NaN and the infinities:
the strings "NaN", "Infinity", "-Infinity". Integers are JSON numbers: a reader whose numbers are 64-bit floats, as in
JavaScript, must parse those beyond 2^53 with care.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from features.core.dtypes import DType
from features.core.times import format_instant
from features.errors import SpineError

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(value: Any) -> Any:
    """A feature's value, or a key's, in JSON's types."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
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


def read_entity_row(row: Mapping[str, Any], types: Mapping[str, DType], number: int) -> dict[str, Any]:
    """An entity row out of JSON, with its join keys and request columns in Python's types.

    Raises: SpineError: a string is not what its column's type is written as.
    """
    typed = dict(row)
    for name, dtype in types.items():
        if name in typed:
            try:
                typed[name] = _read(typed[name], dtype)
            except (KeyError, ValueError, InvalidOperation, binascii.Error) as exc:
                raise SpineError(f"entity_rows[{number}][{name!r}] is not a {dtype}: {typed[name]!r}") from exc
    return typed


def _read(value: Any, dtype: DType) -> Any:
    if isinstance(value, list) and dtype.is_list:
        return [_read(item, dtype.element or DType.FLOAT32) for item in value]
    return _read_text(value, dtype) if isinstance(value, str) else value


def _read_text(text: str, dtype: DType) -> Any:
    if dtype.kind == "timestamp":
        return datetime.fromisoformat(text)
    if dtype.kind == "date":
        return date.fromisoformat(text)
    if dtype.kind == "decimal":
        return Decimal(text)
    if dtype.kind == "bytes":
        return base64.b64decode(text, validate=True)
    return _NOT_FINITE[text] if dtype.is_float else text
