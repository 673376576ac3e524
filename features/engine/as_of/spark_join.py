"""The as-of join in Spark alone, for logs that tasks cannot read by themselves: any layout, any store that Spark reads.

It sorts spine and log of a key together and takes the running maximum of what ranks a row; keys with retractions, where
what has won can be taken back, are swept in Python first.
"""

from typing import TYPE_CHECKING

from features.core.applied import Selection
from features.core.times import duration_micros
from features.engine.as_of.requests import EXPIRED, FOUND, NOT_FOUND
from features.engine.as_of.sweep import LogRow, sweep
from features.stores.log_state import CREATED, EVENT, INTERVAL, OP, PUT, RETRACT, SEQ

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

_TIME, _IS_SPINE, _SPINE, _WINNER = "_time", "_is_spine", "_spine_row", "_winner"


def as_of_join(
    spine: "DataFrame", log: "DataFrame", selection: Selection, *, known_at: str = "created", status: str | None = None
) -> "DataFrame":
    """The spine with the selected columns of one view behind its own.

    Args:
        spine: join keys of the view, of its types, event_timestamp (never null), and any other columns.
        log: rows of the view's log, up to the position that is read.
        selection: features, and the names of their columns.
        known_at: "created": a row is visible from the later of its event and created time on; "event": from its event
            on, as if everything were known at once.
        status: the name of an int column: 0 nothing was visible, 1 it is older than the lookback, 2 it counts.

    Returns: as many rows as the spine has. A value is null where a key is null or unknown, nothing was visible, the
        winning row is older than the view's lookback, or the value itself is null.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    view = selection.view
    keys = list(view.join_keys)
    names = [f.name for f in selection.features]
    rows = log.select(*keys, EVENT, CREATED, OP, SEQ, INTERVAL, *dict.fromkeys(names))
    candidates = _candidates(rows, selection, known_at)
    spine_columns = spine.columns
    left = spine.select(
        *(F.col(f"`{key}`") for key in keys),
        F.col(EVENT).alias(_TIME),
        F.lit(True).alias(_IS_SPINE),
        F.struct(*(F.col(f"`{name}`") for name in spine_columns)).alias(_SPINE),
    )
    both = left.unionByName(candidates, allowMissingColumns=True)
    # False sorts before true: what becomes visible at t counts at t.
    until_now = Window.partitionBy(*keys).orderBy(_TIME, _IS_SPINE).rowsBetween(Window.unboundedPreceding, 0)
    joined = both.withColumn(_WINNER, F.max(_WINNER).over(until_now)).where(_IS_SPINE)
    found = F.col(f"{_WINNER}.values").isNotNull()
    fresh = found
    if view.lookback is not None:
        age = F.unix_micros(_TIME) - F.unix_micros(f"{_WINNER}.event")
        fresh = found & (age <= duration_micros(view.lookback))
    columns = [
        *(F.col(f"{_SPINE}.`{name}`") for name in spine_columns),
        *(
            F.when(fresh, F.col(f"{_WINNER}.values.{name}")).alias(column)
            for name, column in zip(names, selection.columns, strict=True)
        ),
    ]
    if status is not None:
        columns.append(F.when(fresh, FOUND).when(found, EXPIRED).otherwise(NOT_FOUND).alias(status))
    return joined.select(*columns)


def _candidates(rows: "DataFrame", selection: Selection, known_at: str) -> "DataFrame":
    """Keys, `_time` from when on, and `_winner`, which ranks above all that a key's earlier rows hold."""
    from pyspark.sql import functions as F

    keys = list(selection.view.join_keys)
    available = F.greatest(EVENT, CREATED) if known_at == "created" else F.col(EVENT)
    rows = rows.withColumn(_TIME, available)
    retracted = rows.where(F.col(OP) == RETRACT).select(*keys).distinct()
    if retracted.isEmpty():
        return _ranked(rows, selection)
    plain = rows.join(F.broadcast(retracted), keys, "left_anti")
    swept = rows.join(F.broadcast(retracted), keys, "left_semi")
    return _ranked(plain, selection).unionByName(_swept(swept, selection))


def _ranked(rows: "DataFrame", selection: Selection) -> "DataFrame":
    """Without retractions the greatest (event, interval, created, seq) that is visible wins: a running maximum."""
    from pyspark.sql import functions as F

    rank = [F.unix_micros(EVENT), F.unix_micros(INTERVAL), F.unix_micros(CREATED), F.col(SEQ)]
    return rows.select(*selection.view.join_keys, _TIME, _winner(rank, selection, present=F.lit(True)))


def _swept(rows: "DataFrame", selection: Selection) -> "DataFrame":
    """With retractions the winner over time is found per key, and ranked by its step."""
    from pyspark.sql import functions as F

    keys = list(selection.view.join_keys)
    steps = rows.groupBy(*keys).applyInArrow(
        lambda table: _sweep_table(table, keys), rows.withColumn("_step", F.lit(0).cast("bigint")).schema
    )
    rank = [F.col("_step"), *(F.lit(0).cast("bigint") for _ in range(3))]
    return steps.select(*keys, _TIME, _winner(rank, selection, present=F.col(EVENT).isNotNull()))


def _winner(rank: "list[Column]", selection: Selection, *, present: "Column") -> "Column":
    from pyspark.sql import functions as F

    values = F.struct(*dict.fromkeys(f.name for f in selection.features))
    return F.struct(
        *(column.alias(f"rank{place}") for place, column in enumerate(rank)),
        F.col(EVENT).alias("event"),
        F.when(present, values).alias("values"),
    ).alias(_WINNER)


def _sweep_table(table: "pa.Table", keys: list[str]) -> "pa.Table":
    """One key's log rows in, the rows that win out, each with the moment and the step of its turn."""
    import pyarrow as pa

    columns = [table[name].cast(pa.int64()).to_pylist() for name in (_TIME, EVENT, INTERVAL, CREATED, SEQ)]
    puts = [op == PUT for op in table[OP].to_pylist()]
    steps = sweep([LogRow(*row) for row in zip(*columns, puts, strict=True)])
    won = table.take(pa.array([index for _, index in steps], pa.int64()))
    for key in keys:
        position = won.schema.get_field_index(key)
        always = table.slice(0, 1)[key].take(pa.array([0] * len(steps), pa.int64()))
        won = won.set_column(position, table.schema.field(key), always)
    moments = pa.array([moment for moment, _ in steps], pa.int64()).cast(table.schema.field(_TIME).type)
    won = won.set_column(won.schema.get_field_index(_TIME), table.schema.field(_TIME), moments)
    return won.append_column("_step", pa.array(range(len(steps)), pa.int64()))
