"""What judges whole intervals as plain JSON: checks, and a team's own suite. All of it may change in place.

A view without any has no entry, as before there were any: its metadata stays what a registry holds.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from features.core.definitions import EVENT_TIMESTAMP, FeatureView
from features.core.interval_checks import IntervalCheck
from features.core.suites import Suite, read_suite
from features.core.times import duration_micros


def checks_metadata(view: FeatureView) -> dict[str, Any]:
    """`checks` and `suite`, each where the view has some. Raises: DefinitionError: the file of the suite is none."""
    found: dict[str, Any] = {}
    if view.checks:
        found["checks"] = [_check(check) for check in view.checks]
    if view.suite is not None:
        columns = [*view.join_keys, EVENT_TIMESTAMP, *(f.name for f in view.features)]
        suite = read_suite(view.suite, columns=columns, owner=f"FeatureView {view.name!r}")
        found["suite"] = {"path": suite.path, "expectations": [dict(e) for e in suite.expectations]}
    return found


def parse_checks(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a view that the metadata describes."""
    suite = metadata.get("suite")
    return {
        "checks": tuple(_parse_check(check) for check in metadata.get("checks", ())),
        "suite": None if suite is None else Suite(path=suite["path"], expectations=tuple(suite["expectations"])),
    }


def _check(check: IntervalCheck) -> dict[str, Any]:
    limits = {
        name: {"micros": duration_micros(value)} if isinstance(value, timedelta) else value
        for name, value in check.limits.items()
    }
    return {
        "rule": check.rule,
        "column": check.column,
        "limits": limits,
        "over": check.over,
        "min_intervals": check.min_intervals,
        "severity": check.severity,
    }


def _parse_check(content: Mapping[str, Any]) -> IntervalCheck:
    limits = {
        name: timedelta(microseconds=value["micros"]) if isinstance(value, dict) else value
        for name, value in content["limits"].items()
    }
    return IntervalCheck(**{**content, "limits": limits})
