"""A feature store on Spark, Delta Lake and Cassandra: the vocabulary in which features are defined.

Importing this package loads no vendor: a serving app and a DAG file can afford it.
"""

from features.core.aggregations import Aggregation
from features.core.definitions import BatchSource, Entity, Feature, FeatureService, FeatureView
from features.core.dtypes import DType
from features.core.expect import Expect
from features.core.on_demand import GoldenRow, OnDemandFeatureView, RequestSource, on_demand
from features.core.sources import FunctionSource, JdbcSource
from features.core.view_source import ViewSource

__version__ = "0.1.0"
__all__ = [
    "Aggregation",
    "BatchSource",
    "DType",
    "Entity",
    "Expect",
    "Feature",
    "FeatureService",
    "FeatureView",
    "FunctionSource",
    "GoldenRow",
    "JdbcSource",
    "OnDemandFeatureView",
    "RequestSource",
    "ViewSource",
    "on_demand",
]
