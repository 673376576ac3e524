"""This project's join, as its users call it: the tasks that join also write the Parquet files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pit.shape import Layout
from benchmarks.pit.views import open_store
from benchmarks.sink import WRITTEN, parquet_sink
from features.engine.as_of import AsOf, plan_join

if TYPE_CHECKING:
    from features.training.training_set import TrainingSet


def join(folder: str, out: str) -> dict[str, Any]:
    """The join and its result as files, nothing more: what the peers do."""
    layout = Layout.read(folder)
    with open_store(layout.warehouse, layout.registry) as store:
        asked = _ask(store, layout)
        plan = plan_join(asked.spine, [AsOf(pin=pin) for pin in asked.pins])
        Path(out).mkdir(parents=True)
        written = plan.to_tasks(parquet_sink(out), WRITTEN).collect()
        return {"rows": sum(row.rows for row in written), "plan": plan.explain()}


def save(folder: str, out: str) -> dict[str, Any]:
    """`TrainingSet.save`: the result and its spine as files, statistics, the content hash, and a manifest."""
    layout = Layout.read(folder)
    with open_store(layout.warehouse, layout.registry) as store:
        manifest = _ask(store, layout).save("benchmark", hold=False)
        return {"path": manifest.path}


def _ask(store: Any, layout: Layout) -> "TrainingSet":
    references = [f"{view.name}:{feature}" for view in layout.views for feature in view.features]
    asked: TrainingSet = store.get_historical_features(entity_df=layout.spine, features=references)
    return asked
