"""From entity rows in a caller's words to reads of an online store. Pure functions of what is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from features.core.applied import Selection
from features.core.dtypes import DType
from features.core.request import CompiledRequest
from features.errors import SpineError
from features.stores.base import Key, Read

EntityRow = Mapping[str, Any]

# Decimal arithmetic rounds to the context of the thread, unless it is told otherwise.
_WIDE = Context(prec=200, traps=[])


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRead:
    """One view's part of a request: the read of its distinct keys, and the place of each entity row's key in it.

    places: None where a part of the key is null, which matches nothing.
    """

    selection: Selection
    read: Read
    places: tuple[int | None, ...]


def check_rows(request: CompiledRequest, entity_rows: Any) -> Sequence[EntityRow]:
    """The rows, if they are a sequence of mappings with the request columns. Join keys are judged by `plan_reads`.

    Raises: SpineError: they are something else, a column of theirs has the name of a requested feature, or one lacks a
        request column, or holds one of another type.
    """
    if isinstance(entity_rows, str | bytes | Mapping) or not isinstance(entity_rows, Sequence):
        raise SpineError(
            f"entity_rows must be a list of mappings from join key to value, got {type(entity_rows).__name__}"
        )
    for number, row in enumerate(entity_rows):
        if not isinstance(row, Mapping):
            raise SpineError(f"entity_rows[{number}] must map join keys to values, got {type(row).__name__}")
        for column in row:
            if not isinstance(column, str):
                raise SpineError(f"entity_rows[{number}] has a key that is no string: {column!r}")
            if column in request.types:
                raise SpineError(
                    f"entity_rows[{number}] has a column {column!r}, as has the answer; leave it out, or pass "
                    "full_feature_names=True"
                )
        for name, dtype in request.request_columns.items():
            _checked(row, number, name, dtype, _reader(request, name))
    return entity_rows


def _reader(request: CompiledRequest, column: str) -> str:
    views = ", ".join(c.view.name for c in request.computed if column in c.view.request_columns)
    return f"a request column of {views}"


def plan_reads(request: CompiledRequest, entity_rows: Sequence[EntityRow]) -> tuple[PlannedRead, ...]:
    """Each view's distinct keys, of those columns that it is keyed by.

    Raises: SpineError: a row lacks a join key, or holds one of another type.
    """
    return tuple(_plan_read(selection, entity_rows) for selection in request.selections)


def _plan_read(selection: Selection, entity_rows: Sequence[EntityRow]) -> PlannedRead:
    distinct: dict[Key, int] = {}
    places: list[int | None] = []
    what = f"a join key of {selection.view.name}"
    for number, row in enumerate(entity_rows):
        key = tuple(_checked(row, number, name, dtype, what) for name, dtype in selection.view.join_keys.items())
        places.append(None if None in key else distinct.setdefault(key, len(distinct)))
    read = Read(view=selection.view, features=tuple(f.name for f in selection.features), keys=tuple(distinct))
    return PlannedRead(selection=selection, read=read, places=tuple(places))


def _checked(row: EntityRow, number: int, name: str, dtype: DType, what: str) -> Any:
    """A row's value in a column, None for null. what: the column is, in words."""
    if name not in row:
        raise SpineError(
            f"entity_rows[{number}] lacks {name!r}, {what}; it has {', '.join(map(repr, row)) or 'no columns'}"
        )
    value = row[name]
    if value is None:
        return None
    if not dtype.accepts(value) or not _fits(value, dtype):
        raise SpineError(
            f"entity_rows[{number}][{name!r}], {what}, must be {_in_words(dtype)}, got "
            f"{type(value).__name__} {_shown(value)}"
        )
    return value


def _fits(value: Any, dtype: DType) -> bool:
    """Whether a value of the right Python type also fits the stored type, without a digit lost."""
    if dtype.element is not None:
        return all(_fits(item, dtype.element) for item in value)
    if dtype.kind == "string":
        # A lone surrogate has no UTF-8.
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if dtype.is_float and isinstance(value, int):
        # Beyond these a float skips whole numbers.
        return abs(value) <= 1 << (24 if dtype.kind == "float32" else 53)
    if dtype.kind == "decimal":
        number = Decimal(value)
        if not number.is_finite():
            return False
        unscaled = number.scaleb(dtype.scale, context=_WIDE)
        return unscaled == unscaled.to_integral_value(context=_WIDE) and unscaled.copy_abs() < 10**dtype.precision
    return True


def _in_words(dtype: DType) -> str:
    if dtype.kind == "timestamp":
        return "a timestamp (an aware datetime)"
    return f"{'an' if str(dtype)[0] in 'aeiou' else 'a'} {dtype}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
