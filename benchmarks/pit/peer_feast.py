"""Feast's Spark offline store, in an environment of its own: Feast and this project need different libraries.

It is asked the same question, with its filter on created times, which is off by default. Its answer differs at ties: of
rows with equal event times it takes the one created last, whichever interval it is of, and of rows equal in both, all.
So its rows are compared and counted, not required to be equal.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.environments import Environment
from benchmarks.pit.shape import LOOKBACK_DAYS, Layout
from benchmarks.places import STATE, scratch

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import DataFrame

ENVIRONMENT = Environment(name="feast", packages=("feast==0.67.0", "pyspark==4.2.0"))


def prepare(folder: str) -> None:
    """Tell Feast's registry of the views."""
    layout = Layout.read(folder)
    _apply(_open(layout), layout)


def join(folder: str, out: str) -> None:
    """get_historical_features from the same files, with the lookback as ttl, written by Spark."""
    layout = Layout.read(folder)
    store = _open(layout)
    job = store.get_historical_features(
        entity_df=_spine(store, layout),
        features=[f"{view.name}:{name}" for view in layout.views for name in view.features],
        filter_by_created_timestamp=True,
    )
    job.to_spark_df().write.parquet(out)


def _open(layout: Layout) -> "FeatureStore":
    from feast import FeatureStore, RepoConfig
    from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkOfflineStoreConfig

    registries = STATE / "feast-registries"
    registries.mkdir(parents=True, exist_ok=True)
    conf = {
        "spark.master": "local[2]",
        "spark.driver.memory": "4g",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "32",
        "spark.local.dir": scratch(),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
    }
    return FeatureStore(
        config=RepoConfig(
            project="benchmark",
            provider="local",
            registry=str(registries / f"{Path(layout.warehouse).parent.name}.db"),
            offline_store=SparkOfflineStoreConfig(type="spark", spark_conf=conf),
            online_store=None,
            entity_key_serialization_version=3,
        )
    )


def _apply(store: "FeatureStore", layout: Layout) -> None:
    from feast import Entity, FeatureView, Field, types
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    kinds = {"int64": types.Int64, "int32": types.Int32, "string": types.String}
    entities = [Entity(name=key, join_keys=[key]) for key in layout.keys]
    schema = [Field(name=key, dtype=kinds[kind]) for key, kind in layout.keys.items()]
    views = [
        FeatureView(
            name=view.name,
            entities=entities,
            ttl=timedelta(days=LOOKBACK_DAYS),
            schema=[*schema, *(Field(name=name, dtype=types.Float32) for name in view.features)],
            source=SparkSource(
                name=f"{view.name}_source",
                path=view.log,
                file_format="parquet",
                timestamp_field="event_timestamp",
                created_timestamp_column="created_timestamp",
            ),
        )
        for view in layout.views
    ]
    store.apply([*entities, *views])


def _spine(store: "FeatureStore", layout: Layout) -> "DataFrame":
    from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
        get_spark_session_or_start_new_with_repoconfig,
    )

    return get_spark_session_or_start_new_with_repoconfig(store.config.offline_store).read.parquet(layout.spine)
