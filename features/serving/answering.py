"""From what a store answered to the response: a status for every value, and what is computed of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from features.core.applied import AppliedView
from features.core.on_demand import OnDemandFeatureView
from features.core.request import CompiledRequest
from features.core.times import duration_micros, from_micros
from features.serving.on_demand import compute
from features.serving.request import EntityRow, PlannedRead
from features.serving.response import OnlineResponse, Status, columns_of
from features.stores.base import OnlineRow


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of an answer, by name, one item per entity row."""

    values: dict[str, list[Any]] = field(default_factory=dict)
    statuses: dict[str, list[str]] = field(default_factory=dict)
    times: dict[str, list[datetime | None]] = field(default_factory=dict)


def respond(
    compiled: CompiledRequest,
    functions: Sequence[OnDemandFeatureView],
    entity_rows: Sequence[EntityRow],
    plans: Sequence[PlannedRead],
    answers: Sequence[Sequence[OnlineRow | None]],
    now_micros: int,
) -> OnlineResponse:
    """The response to a request.

    Args:
        compiled: the request; functions: the code of its on-demand views.
        entity_rows: as they were given, checked.
        plans, answers: what was read, and beside each read the rows that the store has.
        now_micros: when lookback is judged.

    Raises: TransformError: an on-demand function failed.
    """
    columns = _read_columns(plans, answers, now_micros)
    # Without rows there are still columns.
    entities = columns_of(entity_rows) if entity_rows else {name: [] for name in compiled.given_columns}
    _compute(compiled, functions, columns, entities, len(entity_rows))
    order = compiled.columns
    return OnlineResponse(
        entities=entities,
        features={column: columns.values[column] for column in order},
        statuses={column: columns.statuses[column] for column in order},
        event_timestamps={column: columns.times[column] for column in order},
        types={**compiled.given_columns, **compiled.types},
    )


def _read_columns(
    plans: Sequence[PlannedRead], answers: Sequence[Sequence[OnlineRow | None]], now_micros: int
) -> _Columns:
    columns = _Columns()
    for plan, answer in zip(plans, answers, strict=True):
        rows = [None if place is None else answer[place] for place in plan.places]
        events = [None if row is None else from_micros(row.event_micros) for row in rows]
        kept = [row is not None and not _is_expired(row, plan.selection.view, now_micros) for row in rows]
        for position, column in enumerate(plan.selection.columns):
            pairs = [_judge(row, position, keep) for row, keep in zip(rows, kept, strict=True)]
            columns.values[column] = [value for value, _ in pairs]
            columns.statuses[column] = [status for _, status in pairs]
            columns.times[column] = list(events)
    return columns


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
        for column, values in compute(computed, function, given, rows).items():
            columns.values[column] = values
            columns.statuses[column] = [_status(value) for value in values]
            columns.times[column] = [None] * rows


def _is_expired(row: OnlineRow, view: AppliedView, now_micros: int) -> bool:
    """Whether the row is older than the view's lookback; one exactly as old is not."""
    return view.lookback is not None and now_micros - row.event_micros > duration_micros(view.lookback)


def _judge(row: OnlineRow | None, position: int, keep: bool) -> tuple[Any, str]:
    if row is None:
        return None, Status.NOT_FOUND.value
    if not keep:
        return None, Status.EXPIRED.value
    value = row.values[position]
    return value, _status(value)


def _status(value: Any) -> str:
    return (Status.NULL if value is None else Status.PRESENT).value
