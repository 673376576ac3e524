"""A team's own suite, judged by Great Expectations beside what a view's definition expects."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from string import Template
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from features.core.applied import AppliedView
from features.core.definitions import EVENT_TIMESTAMP
from features.core.profile import Profile
from features.core.suites import Suite
from features.core.times import format_instant, to_micros
from features.errors import DefinitionError
from features.quality.engine import gate_engine
from features.quality.gx import load_great_expectations, read_exception, validate, without_deprecations
from features.quality.verdict import RuleResult

# Where the gate keeps an expectation's place in the file while it is judged.
_PLACE = "features_expectation"
# They run SQL of their own, whose rows they bring to the driver.
_QUERIES = ("unexpected_rows_expectation", "expect_query_results_to_match_comparison")
# On Spark they look at the column's type, without this metric.
_OF_TYPES = ("column_values.of_type", "column_values.in_type_list")
_COLUMNS = ("column", "column_A", "column_B", "column_list", "column_set")


def judge_suite(rows: DataFrame, view: AppliedView, profiles: Mapping[datetime, Profile]) -> list[RuleResult]:
    """One result for each expectation and interval that fails it, one for each expectation that never fails.

    Every interval is a batch of its own, of the view's own columns: expectations speak of shares, means and numbers of
    rows too. Severity is what the file says: critical refuses, warning and info warn.

    Args:
        profiles: of the intervals that have rows, by their end.

    Raises: DefinitionError: the suite is not valid, or an expectation cannot be judged.
    """
    if view.suite is None:
        return []
    expectations = parse_expectations(view.suite, owner=view.reference)
    columns = [*view.join_keys, EVENT_TIMESTAMP, *(f.name for f in view.features)]
    intervals = sorted(profiles)
    failed: dict[int, list[RuleResult]] = {place: [] for place in range(len(expectations))}
    for end in intervals:
        own = (
            rows if len(intervals) == 1 else rows.where(F.col("_interval") == F.timestamp_micros(F.lit(to_micros(end))))
        )
        for result in validate(own.select(*columns), expectations, rows=profiles[end].rows):
            place = result.expectation_config.meta[_PLACE]
            if why := read_exception(result):
                where = f"{view.reference}: suite {view.suite.path!r}: expectation {place + 1}"
                raise DefinitionError(
                    f"{where} ({_rule(expectations[place])}) could not be judged: {why}; "
                    "nothing was published: change it, apply, then rerun"
                )
            if not result.success:
                failed[place].append(_result(expectations[place], 1, _tell(result), end))
    passed = [
        _result(expectation, 0, f"holds in {len(intervals)} intervals")
        for place, expectation in enumerate(expectations)
        if not failed[place]
    ]
    return [*(result for results in failed.values() for result in results), *passed]


def parse_expectations(suite: Suite, *, owner: str) -> Sequence[Any]:
    """The expectations of a suite as Great Expectations has them, each with its place in the file.

    Raises: DefinitionError: one is of an unknown type, has wrong arguments, or cannot be judged on Spark.
    """
    return [
        _parse(content, place, owner=f"{owner}: suite {suite.path!r}: expectation {place + 1}")
        for place, content in enumerate(suite.expectations)
    ]


def _parse(content: Any, place: int, *, owner: str) -> Any:
    load_great_expectations()
    from great_expectations.exceptions.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    named = f"{owner} ({content['type']})"
    if "$PARAMETER" in str(content):
        raise DefinitionError(f"{named} takes a suite parameter, which a run has none of; write the value")
    if content["type"] in _QUERIES:
        raise DefinitionError(f"{named} brings rows to the driver; write what it says as expectations of columns")
    told = {key: content[key] for key in ("severity", "description", "notes") if content.get(key) is not None}
    meta = {**(content.get("meta") or {}), _PLACE: place}
    try:
        configuration = ExpectationConfiguration(
            type=content["type"], kwargs=dict(content.get("kwargs", {})), meta=meta, **told
        )
        # Of conditions as text, which older suites hold and it still takes.
        with without_deprecations():
            expectation = configuration.to_domain_obj()
    # pydantic's validation errors are values that are wrong, of whichever of its versions Great Expectations uses.
    except (GreatExpectationsError, ValueError, TypeError) as exc:
        raise DefinitionError(f"{named} is not valid: {_one_line(exc)}") from exc
    for metric in _metrics(expectation):
        if not _runs_on_spark(metric):
            raise DefinitionError(f"{named} cannot be judged on Spark; take another, or judge it outside the gate")
    return expectation


def _metrics(expectation: Any) -> list[str]:
    mapped = getattr(expectation, "map_metric", None)
    if mapped in _OF_TYPES:
        return []
    return [f"{mapped}.condition"] if mapped else list(getattr(expectation, "metric_dependencies", ()))


@cache
def _runs_on_spark(metric: str) -> bool:
    from great_expectations.exceptions.exceptions import GreatExpectationsError
    from great_expectations.expectations.registry import get_metric_provider

    engine: Any = gate_engine()
    try:
        # Only its type counts: making one would start Spark, which `plan` has no need of.
        get_metric_provider(metric, object.__new__(engine))
    except GreatExpectationsError:
        return False
    return True


def _rule(expectation: Any) -> str:
    """Type and arguments, without the columns."""
    kwargs = expectation.configuration.kwargs
    shown = (f"{key}={value!r}" for key, value in kwargs.items() if key not in _COLUMNS)
    return f"{expectation.expectation_type}({', '.join(shown)})"


def _column(expectation: Any) -> str:
    kwargs = expectation.configuration.kwargs
    named = [kwargs[key] for key in _COLUMNS if key in kwargs]
    flat = [str(item) for each in named for item in (each if isinstance(each, list) else [each])]
    return ", ".join(flat) or "*"


def _tell(result: Any) -> str:
    """What Great Expectations says of an expectation, such as `amount values must never be null`."""
    configuration = result.expectation_config
    if configuration.description:
        return str(configuration.description)
    result.render()
    for content in configuration.rendered_content or ():
        value = content.value.to_json_dict()
        if value.get("template"):
            params = {name: each["value"] for name, each in (value.get("params") or {}).items()}
            return Template(value["template"]).safe_substitute(params)
    return "Great Expectations says no"


def _result(expectation: Any, failing: int, detail: str, end: datetime | None = None) -> RuleResult:
    critical = expectation.configuration.severity.value == "critical"
    return RuleResult(
        column=_column(expectation),
        rule=_rule(expectation),
        severity="refuse" if critical else "warn",
        interval_end="" if end is None else format_instant(end),
        failing=failing,
        rows=1,
        detail=detail,
    )


def _one_line(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return "; ".join(lines[:4])
