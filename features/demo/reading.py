"""Reading back at the end of the data: online by Python, online by plain CQL, and offline. They must agree."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from features.core.applied import AppliedView
from features.core.definitions import Feature
from features.core.times import from_micros
from features.demo.spark import spark_store
from features.store import FeatureStore

_KEYS = ("carrier", "origin", "dest", "tailnum")

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadBack:
    """Values of the same keys and moment, read in three ways.

    rows: the keys asked. online: `view__feature` to values, one per row. statuses: of these values.
    statements: the CQL that was sent, keys filled in. differences: what does not agree, in words.
    """

    rows: Sequence[Row]
    online: Mapping[str, Sequence[Any]]
    statuses: Mapping[str, Sequence[str]]
    statements: Sequence[str]
    differences: Sequence[str]

    @property
    def values(self) -> int:
        """How many values were compared."""
        return sum(len(values) for values in self.online.values())


def choose_rows(flights: pd.DataFrame, count: int = 3) -> list[dict[str, str]]:
    """The keys of the last flights to land of the carriers that landed most: one carrier, route and plane each."""
    landed = flights[flights["landed_at"].notna() & flights["tailnum"].notna()]
    last = landed.sort_values(["landed_at", "carrier", "flight"]).groupby("carrier").tail(1)
    busiest = landed["carrier"].value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable").index
    chosen = last.set_index("carrier").loc[busiest[:count]].reset_index()
    return [{key: str(row[key]) for key in _KEYS} for row in chosen.to_dict("records")]


def read_back(store: FeatureStore, views: Sequence[AppliedView], rows: Sequence[Row], moment: datetime) -> ReadBack:
    """All features of views whose keys the rows hold, as known at one moment, read in three ways and compared.

    Args:
        moment: past the last created time in the logs, so that what is online is what was known.
    """
    views = [view for view in views if set(view.join_keys) <= set(_KEYS)]
    features = [view.name for view in views]
    online = store.get_online_features(features=features, entity_rows=rows, now=moment, full_feature_names=True)
    values = {name: list(column) for name, column in online.features.items()}
    offline = _read_offline(store, features, rows, moment)
    differences = _compare("offline", values, offline)
    statements, by_cql = _read_by_cql(store, views, rows)
    fresh = {
        name: [
            value if status in ("PRESENT", "NULL") else ...
            for value, status in zip(column, online.statuses[name], strict=True)
        ]
        for name, column in values.items()
    }
    differences += _compare("by CQL", fresh, by_cql)
    return ReadBack(rows=rows, online=values, statuses=online.statuses, statements=statements, differences=differences)


def _read_offline(
    store: FeatureStore, features: Sequence[str], rows: Sequence[Row], moment: datetime
) -> dict[str, list[Any]]:
    spine = pd.DataFrame([{**row, "event_timestamp": pd.Timestamp(moment)} for row in rows])
    with spark_store(store.settings) as offline:
        found = offline.get_historical_features(entity_df=spine, features=features, full_feature_names=True)
        table = found.to_arrow()
    return {name: table[name].to_pylist() for name in table.column_names if name not in spine.columns}


def _read_by_cql(
    store: FeatureStore, views: Sequence[AppliedView], rows: Sequence[Row]
) -> tuple[list[str], dict[str, list[Any]]]:
    """The statements sent, and feature to values: what any driver in any language gets."""
    from features.stores.cassandra_session import connect

    statements: list[str] = []
    found: dict[str, list[Any]] = {f"{view.name}__{feature.name}": [] for view in views for feature in view.features}
    session = connect(store.settings.online)
    try:
        for view in views:
            table = f"{store.settings.online.keyspace}.{view.online_table}"
            where = " AND ".join(f"{key} = %s" for key in view.join_keys)
            for row in rows:
                keys = tuple(row[key] for key in view.join_keys)
                result = session.execute(f"SELECT * FROM {table} WHERE {where}", keys)
                statements.append(f"SELECT * FROM {table} WHERE {where}" % tuple(f"'{key}'" for key in keys))
                answer = result.one()
                columns = {} if answer is None else dict(zip(result.column_names, answer, strict=True))
                for feature in view.features:
                    found[f"{view.name}__{feature.name}"].append(_instant(columns.get(feature.name), feature))
    finally:
        session.cluster.shutdown()
    return statements, found


def _instant(value: Any, feature: Feature) -> Any:
    """A time of a TIMESTAMP feature: it is stored as bigint microseconds, Cassandra's own type holds milliseconds."""
    return from_micros(value) if feature.dtype.kind == "timestamp" and value is not None else value


def _compare(way: str, online: Mapping[str, Sequence[Any]], other: Mapping[str, Sequence[Any]]) -> list[str]:
    """What differs; an online value of `...` says nothing."""
    return [
        f"{name}, row {place + 1}: {value!r} online, {other[name][place]!r} {way}"
        for name, values in online.items()
        for place, value in enumerate(values)
        if value is not ... and not _same(value, other[name][place])
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one.astimezone(UTC) == other.astimezone(UTC)
    return bool(one == other) and type(one) is type(other)
