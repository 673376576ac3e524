"""Answers as text and as JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


def to_plain(value: Any) -> Any:
    """A value, or a result of the library, in JSON's types; values of features as `features.serving` writes them."""
    from features.serving.json_values import to_json

    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return to_json(value)


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under their headers, columns aligned; None as `-`."""
    shown = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *shown, strict=True)]
    lines = [headers, ["-" * width for width in widths], *shown]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def fields(pairs: Mapping[str, Any]) -> str:
    """One `name: value` per line, values aligned."""
    width = max((len(name) for name in pairs), default=0) + 1
    return "\n".join(f"{name + ':':<{width}} {_cell(value)}" for name, value in pairs.items())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    plain = to_plain(value)
    return plain if isinstance(plain, str) else str(plain)
