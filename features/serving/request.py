"""From entity rows in a caller's words to reads of an online store. Pure functions of what is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from features.core.applied import AppliedView, Selection
from features.core.arms import picks_candidate
from features.core.dtypes import DType
from features.core.request import CompiledRequest
from features.core.rollout import ViewRollout
from features.core.times import to_micros
from features.errors import SpineError
from features.stores.base import Key, Read

EntityRow = Mapping[str, Any]

NONE: Mapping[str, Any] = MappingProxyType({})
# Written out, a decimal of a greater exponent would be longer than any column's.
_MOST_EXPONENT = 1000
_FIRST_MICROS = to_micros(datetime(1, 1, 1, tzinfo=UTC))
_LAST_MICROS = to_micros(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRead:
    """What is read of one version of a view: its distinct keys, and the place of each entity row's key among them.

    places: None where a part of the key is null, which matches nothing, or where the other arm answers.
    """

    selection: Selection
    read: Read
    places: tuple[int | None, ...]

    @property
    def is_plain(self) -> bool:
        """Whether each entity row has a key of its own: the answer is then beside them already."""
        return len(self.read.keys) == len(self.places)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewPlan:
    """One view's part of a request.

    reads: of its live version; while some of the rows fall to a canary, then of the candidate.
    picks: beside each entity row the number of the read that answers it; empty where there is one.
    """

    selection: Selection
    reads: tuple[PlannedRead, ...]
    picks: tuple[int, ...] = ()
    in_canary: bool = False

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that are read."""
        return tuple(read.selection.view.version for read in self.reads)

    @property
    def arms(self) -> tuple[str, ...]:
        """Beside each entity row which arm answers it: `live`, or `candidate`."""
        return tuple(ARMS[pick] for pick in self.picks)


ARMS = ("live", "candidate")


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


def plan_reads(
    request: CompiledRequest,
    entity_rows: Sequence[EntityRow],
    *,
    rollouts: Mapping[str, ViewRollout] = NONE,
    candidates: Mapping[str, AppliedView] = NONE,
) -> tuple[ViewPlan, ...]:
    """Each view's distinct keys, of those columns that it is keyed by. Views of the same keys share one list of them.

    Args:
        request: what is asked.
        entity_rows: of these entities.
        rollouts, candidates: of the views in canary, by name, their share and the version beside the live one.

    Raises: SpineError: a row lacks a join key, or holds one of another type.
    """
    keyed: dict[tuple[tuple[str, DType], ...], _Keys] = {}
    plans = []
    for selection in request.selections:
        columns = tuple(selection.view.join_keys.items())
        keys = keyed.get(columns)
        if keys is None:
            keys = keyed[columns] = _find_keys(columns, entity_rows, selection.view)
        candidate = candidates.get(selection.view.name)
        if candidate is None:
            plans.append(ViewPlan(selection=selection, reads=(_plan_read(selection, keys),)))
        else:
            plans.append(_plan_canary(selection, keys, candidate, rollouts[selection.view.name]))
    return tuple(plans)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Distinct keys, and the place of each entity row's key among them; None: a part of it is null."""

    distinct: tuple[Key, ...]
    places: tuple[int | None, ...]


def _find_keys(columns: Sequence[tuple[str, DType]], entity_rows: Sequence[EntityRow], view: AppliedView) -> _Keys:
    distinct: dict[Key, int] = {}
    places: list[int | None] = []
    what = f"a join key of {view.name}"
    for number, row in enumerate(entity_rows):
        key = tuple([_checked(row, number, name, dtype, what) for name, dtype in columns])
        places.append(None if None in key else distinct.setdefault(key, len(distinct)))
    return _Keys(tuple(distinct), tuple(places))


def _plan_read(selection: Selection, keys: _Keys) -> PlannedRead:
    read = Read(view=selection.view, features=tuple(f.name for f in selection.features), keys=keys.distinct)
    return PlannedRead(selection=selection, read=read, places=keys.places)


def _plan_canary(selection: Selection, keys: _Keys, candidate: AppliedView, rollout: ViewRollout) -> ViewPlan:
    chosen = picks_candidate(rollout, keys.distinct, list(selection.view.join_keys.values()))
    # A row without a key is nobody's: the live version says that it is not found.
    picks = tuple(int(place is not None and chosen[place]) for place in keys.places)
    beside = Selection(view=candidate, features=selection.features, columns=selection.columns)
    arms = (_only(selection, keys, chosen, False), _only(beside, keys, chosen, True))
    return ViewPlan(selection=selection, reads=arms, picks=picks, in_canary=True)


def _only(selection: Selection, keys: _Keys, chosen: Sequence[bool], arm: bool) -> PlannedRead:
    """The read of the keys of one arm."""
    moved: dict[int, int] = {}
    for place, pick in enumerate(chosen):
        if pick is arm:
            moved[place] = len(moved)
    own = _Keys(
        tuple(keys.distinct[place] for place in moved),
        tuple(None if place is None else moved.get(place) for place in keys.places),
    )
    return _plan_read(selection, own)


def _checked(row: EntityRow, number: int, name: str, dtype: DType, what: str) -> Any:
    """A row's value in a column, None for null. what: the column is, in words."""
    if name not in row:
        raise SpineError(
            f"entity_rows[{number}] lacks {name!r}, {what}; it has {', '.join(map(repr, row)) or 'no columns'}"
        )
    value = row[name]
    if value is None:
        return None
    if not fits(value, dtype):
        raise SpineError(
            f"entity_rows[{number}][{name!r}], {what}, must be {_in_words(dtype)}, got "
            f"{type(value).__name__} {shown(value)}"
        )
    return value


def fits(value: Any, dtype: DType) -> bool:
    """Whether a value, not null, is of the right Python type and fits the stored one, without a digit lost."""
    return dtype.accepts(value) and _is_within(value, dtype)


def _is_within(value: Any, dtype: DType) -> bool:
    if dtype.element is not None:
        return all(_is_within(item, dtype.element) for item in value)
    if dtype.kind == "string":
        # A lone surrogate has no UTF-8.
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if dtype.is_float and isinstance(value, int):
        # Beyond these a float skips whole numbers.
        return abs(value) <= 1 << (24 if dtype.kind == "float32" else 53)
    if dtype.kind == "decimal":
        return _fits_decimal(Decimal(value), dtype)
    if dtype.kind == "timestamp":
        # With its offset it may lie beyond the years that a datetime has in UTC.
        return _FIRST_MICROS <= to_micros(value) <= _LAST_MICROS
    return True


def _fits_decimal(number: Decimal, dtype: DType) -> bool:
    """By its digits: arithmetic rounds to a context, and with an exponent of a billion takes all memory."""
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or abs(exponent) > _MOST_EXPONENT:
        return False
    whole = "".join(map(str, digits)).lstrip("0")
    needed = whole.rstrip("0")
    lowest = exponent + len(whole) - len(needed)
    return not needed or (lowest >= -dtype.scale and len(whole) + exponent <= dtype.precision - dtype.scale)


def _in_words(dtype: DType) -> str:
    if dtype.kind == "timestamp":
        return "a timestamp (an aware datetime)"
    return f"{'an' if str(dtype)[0] in 'aeiou' else 'a'} {dtype}"


def shown(value: Any) -> str:
    """A value for a message, cut: any length of it may have been given."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
