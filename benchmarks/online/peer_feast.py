"""Feast with its Cassandra online store, by its Python SDK: a process of its environment that is told what to measure.

Commands come on standard input, one JSON object a line: {"keys": 10, "requests": 100, "seed": 1}; each is answered by a
line with the milliseconds of each request. Before the first, the rows are written where they are missing.
"""

import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.environments import Environment
from benchmarks.feast_repository import open_feast
from benchmarks.online.shape import EVENT_MICROS, FEAST_KEYSPACE, Shape, value

if TYPE_CHECKING:
    from feast import FeatureStore

ENVIRONMENT = Environment(name="feast-online", packages=("feast[cassandra]==0.67.0",))
_KEY = "entity"
# Rows of one write: what its client has under way at once is bounded by the store's own setting.
_ROWS = 1000


def repository(folder: Path) -> Path:
    """The folder of Feast's repository, whose feature_store.yaml is also what its server reads."""
    return folder / "feast"


def open_store(folder: Path, port: int) -> "FeatureStore":
    """Feast's store, over the Cassandra at that port; feature_store.yaml is written."""
    return open_feast(repository(folder), port=port, keyspace=FEAST_KEYSPACE)


def fill(store: "FeatureStore", folder: Path, shape: Shape) -> None:
    """Apply the views, and write their rows where that was not done."""
    import pandas as pd
    from feast import Entity, FeatureView, Field, FileSource, ValueType, types

    done = repository(folder) / f"filled-{shape.feast_entities}-{shape.views}x{shape.features}"
    if done.exists():
        return
    entity = Entity(name=_KEY, join_keys=[_KEY], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=name,
            entities=[entity],
            ttl=timedelta(days=365_00),
            schema=[Field(name=_KEY, dtype=types.Int64), *(Field(name=f, dtype=types.Float64) for f in names)],
            source=FileSource(name=f"{name}_source", path="unused.parquet", timestamp_field="event_timestamp"),
        )
        for name, names in shape.columns.items()
    ]
    store.apply([entity, *views])
    moment = datetime.fromtimestamp(EVENT_MICROS / 1e6, UTC)
    for at, (name, names) in enumerate(shape.columns.items()):
        for low in range(0, shape.feast_entities, _ROWS):
            ids = range(low, min(low + _ROWS, shape.feast_entities))
            columns = {f: [value(i, at, place) for i in ids] for place, f in enumerate(names)}
            frame = pd.DataFrame({_KEY: list(ids), "event_timestamp": moment, **columns})
            store.write_to_online_store(name, df=frame)
        print(f"feast: {name} is written", file=sys.stderr, flush=True)
    done.touch()


def measure(store: "FeatureStore", shape: Shape, command: dict[str, Any]) -> list[float]:
    """Milliseconds of each request; the last answer is compared with what was written."""
    chosen = random.Random(command["seed"])
    taken = []
    for _ in range(command["requests"]):
        rows = [{_KEY: chosen.randrange(shape.feast_entities)} for _ in range(command["keys"])]
        begun = time.perf_counter()
        answer = store.get_online_features(features=shape.references, entity_rows=rows).to_dict()
        taken.append(1e3 * (time.perf_counter() - begun))
    for at, names in enumerate(shape.columns.values()):
        for place, name in enumerate(names):
            wanted = [value(row[_KEY], at, place) for row in rows]
            if answer[name] != wanted:
                raise SystemExit(f"feast answered {answer[name][:3]} for {name}, not {wanted[:3]}")
    return taken


def main() -> None:
    """FOLDER PORT ENTITIES VIEWS FEATURES."""
    folder, port, entities, views, features = Path(sys.argv[1]), *map(int, sys.argv[2:])
    shape = Shape(feast_entities=entities, views=views, features=features)
    store = open_store(folder, port)
    fill(store, folder, shape)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(store, shape, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
