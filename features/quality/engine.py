"""Great Expectations' engine over Spark, asked for the same metrics in ways that cost less."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from pyspark.sql import functions as F

from features.quality.gx import load_great_expectations

# The JVM compiles no method of more than 8,000 bytes of code: many aggregates at once run interpreted.
_METRICS_PER_JOB = 32
_UNIQUE = "compound_columns.unique"


@cache
def gate_engine() -> type:
    """The engine's class. Metrics are its own, save those named here, and so are expectations and their judgement."""
    load_great_expectations()
    from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine

    class GateEngine(SparkDFExecutionEngine):
        def resolve_metric_bundle(self, metric_fn_bundle: Iterable[Any]) -> dict[Any, Any]:
            """Aggregates, in a few jobs instead of one."""
            wanted = list(metric_fn_bundle)
            found: dict[Any, Any] = {}
            for first in range(0, len(wanted), _METRICS_PER_JOB):
                found |= super().resolve_metric_bundle(metric_fn_bundle=wanted[first : first + _METRICS_PER_JOB])
            return found

        def resolve_metrics(
            self, metrics_to_resolve: Iterable[Any], metrics: Any = None, runtime_configuration: Any = None
        ) -> dict[Any, Any]:
            """What is unique is found by counting groups. A window over all rows would sort them, once per metric."""
            wanted = list(metrics_to_resolve)
            counts = (f"{_UNIQUE}.unexpected_count", f"{_UNIQUE}.filtered_row_count")
            own = [metric for metric in wanted if metric.metric_name in counts]
            found: dict[Any, Any] = {}
            by_domain: dict[Any, tuple[int, int]] = {}
            for metric in own:
                domain = metric.metric_domain_kwargs_id
                if domain not in by_domain:
                    by_domain[domain] = self._count_groups(metric.metric_domain_kwargs)
                found[metric.id] = by_domain[domain][counts.index(metric.metric_name)]
            rest = [metric for metric in wanted if metric not in own]
            return found | super().resolve_metrics(rest, metrics, runtime_configuration)

        def _count_groups(self, domain: Any) -> tuple[int, int]:
            """Rows that share their values with another row, and rows."""
            groups = self.get_domain_records(domain).groupBy(*domain["column_list"]).agg(F.count(F.lit(1)).alias("_n"))
            alike = F.sum(F.when(F.col("_n") > 1, F.col("_n")))
            row = groups.agg(F.coalesce(alike, F.lit(0)), F.coalesce(F.sum("_n"), F.lit(0))).first()
            return int(row[0]), int(row[1])

    return GateEngine
