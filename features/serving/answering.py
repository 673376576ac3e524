"""From what a store answered to the response: a status for every value, and what is computed of them.

Most requests find every row, fresh and without a null. These take no step per value: rows are turned into columns in
one call, and statuses are not looked at one by one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from features.core.on_demand import OnDemandFeatureView
from features.core.request import CompiledRequest
from features.core.times import duration_micros
from features.errors import OnlineStoreError
from features.serving.on_demand import compute
from features.serving.request import EntityRow, PlannedRead, ViewPlan
from features.serving.response import EventTimes, OnlineResponse, Status, columns_of
from features.stores.base import OnlineRow, ReadAnswer

_PRESENT, _NULL = Status.PRESENT.value, Status.NULL.value


@dataclass(frozen=True, slots=True)
class _JudgedRows:
    """Beside each entity row its row, or in its place why no value of it counts; and its event time, if it has one.

    all_count: all of them are rows.
    """

    rows: Sequence[OnlineRow | Status]
    times: Sequence[int | None]
    all_count: bool = False


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of an answer, by name, one item per entity row."""

    values: dict[str, Sequence[Any]] = field(default_factory=dict)
    statuses: dict[str, Sequence[str]] = field(default_factory=dict)
    times: dict[str, Sequence[int | None]] = field(default_factory=dict)


def respond(
    compiled: CompiledRequest,
    functions: Sequence[OnDemandFeatureView],
    entity_rows: Sequence[EntityRow],
    plans: Sequence[ViewPlan],
    answers: Sequence[ReadAnswer],
    now_micros: int,
    *,
    defaults: Mapping[str, Any],
    allow_partial: bool,
) -> OnlineResponse:
    """The response to a request.

    Args:
        compiled: the request; functions: the code of its on-demand views.
        entity_rows: as they were given, checked.
        plans, answers: what was read, and what the store has of each read, plan by plan.
        now_micros: when lookback is judged.
        defaults: column to the value that stands for one that is not PRESENT.
        allow_partial: views whose read failed have the status UNAVAILABLE, instead of failing the request.

    Raises: TransformError: an on-demand function failed; OnlineStoreError: a read did, and `allow_partial` is false.
    """
    columns, errors = _Columns(), dict[str, str]()
    arms: dict[str, Sequence[str]] = {}
    rest = iter(answers)
    for plan in plans:
        judged = _judge_view(plan, list(islice(rest, len(plan.reads))), now_micros, errors if allow_partial else None)
        _add_columns(columns, plan, judged)
        if plan.in_canary:
            arms[plan.selection.view.name] = plan.arms
    # Without rows there are still columns.
    entities = columns_of(entity_rows) if entity_rows else {name: [] for name in compiled.given_columns}
    if compiled.computed:
        _compute(compiled, functions, columns, entities, len(entity_rows))
    order = compiled.columns
    return OnlineResponse(
        entities=entities,
        features={column: _defaulted(columns, column, defaults) for column in order},
        statuses={column: columns.statuses[column] for column in order},
        event_timestamps=EventTimes({column: columns.times[column] for column in order}),
        types=compiled.answer_types,
        views=compiled.column_views,
        versions=_versions(plans),
        arms=arms,
        errors=errors,
    )


def _judge_view(
    plan: ViewPlan, answers: Sequence[ReadAnswer], now_micros: int, errors: dict[str, str] | None
) -> _JudgedRows:
    """What the reads of a view say of each entity row. errors: those met are added; None: the first one is raised."""
    arms = []
    for read, answer in zip(plan.reads, answers, strict=True):
        if isinstance(answer, OnlineStoreError):
            if errors is None:
                raise answer
            errors[read.selection.view.reference] = str(answer)
            arms.append(_JudgedRows([Status.UNAVAILABLE] * len(read.places), [None] * len(read.places)))
        else:
            arms.append(_judge(read, answer, now_micros))
    if not plan.in_canary:
        return arms[0]
    return _JudgedRows(
        [arms[pick].rows[number] for number, pick in enumerate(plan.picks)],
        [arms[pick].times[number] for number, pick in enumerate(plan.picks)],
    )


def _judge(read: PlannedRead, answer: Sequence[OnlineRow | None], now_micros: int) -> _JudgedRows:
    lookback = read.selection.view.lookback
    oldest = None if lookback is None else now_micros - duration_micros(lookback)
    rows = answer if read.is_plain else [None if place is None else answer[place] for place in read.places]
    found = [row for row in rows if row is not None]
    times = [row.event_micros for row in found]
    # A row exactly as old as the lookback still counts.
    if len(found) == len(rows) and (oldest is None or not times or min(times) >= oldest):
        return _JudgedRows(found, times, all_count=True)
    return _JudgedRows(
        [_judge_row(row, oldest) for row in rows], [None if row is None else row.event_micros for row in rows]
    )


def _judge_row(row: OnlineRow | None, oldest: int | None) -> OnlineRow | Status:
    if row is None:
        return Status.NOT_FOUND
    return row if oldest is None or row.event_micros >= oldest else Status.EXPIRED


def _add_columns(columns: _Columns, plan: ViewPlan, judged: _JudgedRows) -> None:
    names = plan.selection.columns
    columns.times.update(dict.fromkeys(names, judged.times))
    if judged.all_count:
        present = [_PRESENT] * len(judged.rows)
        by_feature: Iterable[Sequence[Any]] = ((),) * len(names)
        if judged.rows:
            by_feature = zip(*[row.values for row in judged.rows if isinstance(row, OnlineRow)], strict=True)
        for column, feature, values in zip(names, plan.selection.features, by_feature, strict=True):
            columns.values[column] = _own_lists(values) if feature.dtype.is_list else list(values)
            columns.statuses[column] = list(map(_status, values)) if None in values else present.copy()
        return
    for place, column in enumerate(names):
        found = [row.values[place] if isinstance(row, OnlineRow) else None for row in judged.rows]
        columns.values[column] = _own_lists(found) if plan.selection.features[place].dtype.is_list else found
        columns.statuses[column] = [
            _status(value) if isinstance(row, OnlineRow) else row.value
            for row, value in zip(judged.rows, found, strict=True)
        ]


def _own_lists(values: Sequence[Any]) -> list[Any]:
    """The caller's own: the store's may be those of a cache, or of another row of the same key."""
    return [None if value is None else list(value) for value in values]


def _versions(plans: Sequence[ViewPlan]) -> dict[str, Sequence[int]]:
    """By view the versions that were read; a request may name several of one view."""
    found: dict[str, Sequence[int]] = {}
    for plan in plans:
        name = plan.selection.view.name
        found[name] = tuple(dict.fromkeys((*found.get(name, ()), *plan.versions)))
    return found


def _compute(
    compiled: CompiledRequest,
    functions: Sequence[OnDemandFeatureView],
    columns: _Columns,
    entities: Mapping[str, Sequence[Any]],
    rows: int,
) -> None:
    """Adds what is computed: PRESENT, or NULL where the function says so. It has no event time of its own."""
    given = {**entities, **columns.values}
    for computed, function in zip(compiled.computed, functions, strict=True):
        # What is computed of values that could not be read would be another answer, not a part of one.
        lost = _lost_rows(columns, computed.inputs.values())
        for column, values in compute(computed, function, given, rows).items():
            columns.values[column] = [None if at in lost else value for at, value in enumerate(values)]
            columns.statuses[column] = [
                Status.UNAVAILABLE.value if at in lost else _status(value) for at, value in enumerate(values)
            ]
            columns.times[column] = (None,) * rows


def _lost_rows(columns: _Columns, inputs: Iterable[str]) -> frozenset[int]:
    lost: set[int] = set()
    for column in inputs:
        statuses = columns.statuses.get(column, ())
        if Status.UNAVAILABLE.value in statuses:
            lost.update(at for at, status in enumerate(statuses) if status == Status.UNAVAILABLE.value)
    return frozenset(lost)


def _defaulted(columns: _Columns, column: str, defaults: Mapping[str, Any]) -> Sequence[Any]:
    values = columns.values[column]
    if column not in defaults:
        return values
    default = defaults[column]
    return [v if s == _PRESENT else default for v, s in zip(values, columns.statuses[column], strict=True)]


def _status(value: Any) -> str:
    return _NULL if value is None else _PRESENT
