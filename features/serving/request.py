"""From a request in a caller's words to reads of an online store. Pure functions of what is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from features.core.applied import RequestedFeature, Selection, name_columns, select_by_view
from features.core.dtypes import DType
from features.errors import SpineError
from features.stores.base import Key, Read

EntityRow = Mapping[str, Any]

# Decimal arithmetic rounds to the context of the thread, unless it is told otherwise.
_WIDE = Context(prec=200, traps=[])


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledRequest:
    """What a `features` argument stands for.

    selections: the features by view.
    types: column to type, in the order asked.
    join_keys: all join keys of all views, in the order in which they first occur, and their types.
    """

    selections: tuple[Selection, ...]
    types: Mapping[str, DType]
    join_keys: Mapping[str, DType]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRead:
    """One view's part of a request: the read of its distinct keys, and the place of each entity row's key in it.

    places: None where a part of the key is null, which matches nothing.
    """

    selection: Selection
    read: Read
    places: tuple[int | None, ...]


def compile_request(requested: Sequence[RequestedFeature], *, full_feature_names: bool) -> CompiledRequest:
    """The request, with a name for each column. Raises: UsageError: two columns would have one name."""
    columns = name_columns(requested, full_feature_names=full_feature_names)
    join_keys: dict[str, DType] = {}
    for item in requested:
        for key, dtype in item.view.join_keys.items():
            join_keys.setdefault(key, dtype)
    return CompiledRequest(
        selections=select_by_view(requested, columns),
        types={column: item.feature.dtype for column, item in zip(columns, requested, strict=True)},
        join_keys=join_keys,
    )


def check_rows(request: CompiledRequest, entity_rows: Any) -> Sequence[EntityRow]:
    """The rows, if they are a sequence of mappings. Values are judged by `plan_reads`.

    Raises: SpineError: they are something else, or a column of theirs has the name of a requested feature.
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
    return entity_rows


def plan_reads(request: CompiledRequest, entity_rows: Sequence[EntityRow]) -> tuple[PlannedRead, ...]:
    """Each view's distinct keys, of those columns that it is keyed by.

    Raises: SpineError: a row lacks a join key, or holds one of another type.
    """
    return tuple(_plan_read(selection, entity_rows) for selection in request.selections)


def _plan_read(selection: Selection, entity_rows: Sequence[EntityRow]) -> PlannedRead:
    distinct: dict[Key, int] = {}
    places: list[int | None] = []
    for number, row in enumerate(entity_rows):
        key = tuple(_key_value(row, number, name, dtype, selection) for name, dtype in selection.view.join_keys.items())
        places.append(None if None in key else distinct.setdefault(key, len(distinct)))
    read = Read(view=selection.view, features=tuple(f.name for f in selection.features), keys=tuple(distinct))
    return PlannedRead(selection=selection, read=read, places=tuple(places))


def _key_value(row: EntityRow, number: int, name: str, dtype: DType, selection: Selection) -> Any:
    if name not in row:
        raise SpineError(
            f"entity_rows[{number}] lacks {name!r}, a join key of {selection.view.name}; it has "
            f"{', '.join(map(repr, row)) or 'no columns'}"
        )
    value = row[name]
    if value is None:
        return None
    if not dtype.accepts(value) or not _fits(value, dtype):
        raise SpineError(
            f"entity_rows[{number}][{name!r}], a join key of {selection.view.name}, must be {_in_words(dtype)}, got "
            f"{type(value).__name__} {_shown(value)}"
        )
    return value


def _fits(value: Any, dtype: DType) -> bool:
    """Whether a value of the right Python type also fits the stored type, without a digit lost."""
    if dtype.kind == "string":
        # A lone surrogate has no UTF-8.
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
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
