"""Values of join keys as text: what a person types, and what a file without types holds."""

import base64
import binascii
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from features.core.dtypes import DType
from features.core.times import format_instant, parse_instant
from features.errors import UsageError

_BOOLEANS = {"true": True, "false": False}


def parse_key(text: str, dtype: DType, *, name: str) -> Any:
    """The value of a join key, or of a request column, out of its text; bytes are base64.

    Raises: UsageError: the text is none of that type.
    """
    try:
        value = _parse(text, dtype, name)
    except (ValueError, KeyError, InvalidOperation, binascii.Error) as exc:
        raise UsageError(f"{name}={text!r} is not of type {dtype}") from exc
    return value


def write_key(value: Any) -> str:
    """The text that `parse_key` reads as this value. Raises: UsageError: a key cannot be one."""
    match value:
        case bool():
            return str(value).lower()
        case int() | Decimal():
            return str(value)
        case str():
            return value
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() if value.utcoffset() is not None:
            return format_instant(value)
        case date() if not isinstance(value, datetime):
            return value.isoformat()
    raise UsageError(f"a join key cannot be {type(value).__name__}: null, a float or a time without a zone is none")


def _parse(text: str, dtype: DType, name: str) -> Any:
    match dtype.kind:
        case "bool":
            return _BOOLEANS[text.lower()]
        case "int32" | "int64":
            return int(text)
        case "float32" | "float64":
            return float(text)
        case "array" | "vector":
            raise UsageError(f"{name} is of type {dtype}, which has no form on a command line; use Python or HTTP")
        case "decimal":
            return Decimal(text)
        case "date":
            return date.fromisoformat(text)
        case "timestamp":
            return parse_instant(text, name=name)
        case "bytes":
            return base64.b64decode(text, validate=True)
        case _:
            return text
