"""Canonical JSON of definitions: the part that makes a version, its hash, and the part that may change in place."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from features.core.aggregations import Aggregation
from features.core.applied import AppliedView
from features.core.canonical_checks import checks_metadata, parse_checks
from features.core.canonical_sources import parse_source, source_definition, source_metadata
from features.core.code import syntax_tree
from features.core.definitions import NO_LIMIT, Entity, Feature, FeatureService, FeatureView
from features.core.dtypes import DType
from features.core.expect import Expectation
from features.core.times import duration_micros

Json = dict[str, Any]


def view_definition(view: FeatureView) -> Json:
    """What makes a version: a change of any of it is a new version, with a new table."""
    return {
        "name": view.name,
        "entities": [
            {"name": e.name, "join_keys": [[k, str(t)] for k, t in e.join_keys.items()]} for e in view.entities
        ],
        "features": [[f.name, str(f.dtype)] for f in view.features],
        "sources": [source_definition(source) for source in view.sources],
        "schedule": view.schedule,
        "delay": duration_micros(view.delay),
        "lookback": None if view.lookback is None else duration_micros(view.lookback),
        "available": view.available,
        "transform": None
        if view.transform is None
        else hashlib.sha256(syntax_tree(view.transform).encode()).hexdigest(),
        **_windows_definition(view),
    }


def view_metadata(view: FeatureView) -> Json:
    """What may change in place, without touching a table. Raises: DefinitionError: the view's suite cannot be read."""
    return {
        "description": view.description,
        "owner": view.owner,
        "tags": dict(sorted(view.tags.items())),
        "retention": None if view.retention is None else duration_micros(view.retention),
        "reprocess": view.reprocess,
        **_limit_metadata(view),
        "entities": {e.name: {"description": e.description, "owner": e.owner} for e in view.entities},
        "features": {
            f.name: {
                "unit": f.unit,
                "description": f.description,
                "tags": dict(sorted(f.tags.items())),
                "expect": [_expectation(rule) for rule in f.expectations],
            }
            for f in view.features
        },
        "sources": {s.name: source_metadata(s) for s in view.sources},
        **checks_metadata(view),
    }


def _limit_metadata(view: FeatureView) -> Json:
    """Nothing where nothing is limited, as in registries of earlier releases: these views are not changed."""
    return {} if view.quarantine_limit == NO_LIMIT else {"quarantine_limit": view.quarantine_limit}


def service_definition(service: FeatureService) -> Json:
    """What makes a version of a service."""
    return {"name": service.name, "features": list(service.features)}


def service_metadata(service: FeatureService) -> Json:
    """What of a service may change in place."""
    return {"description": service.description, "owner": service.owner, "tags": dict(sorted(service.tags.items()))}


def canonical(content: Json) -> str:
    """JSON with sorted keys and no white space: equal content, equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def definition_hash(definition: Json) -> str:
    """SHA-256 of the canonical JSON.

    Features in the order of their names: another order changes no value. Of a view that is read, its hash counts, not
    the number that a registry gave to it.
    """
    normal = {k: sorted(v) if k == "features" and definition.get("sources") else v for k, v in definition.items()}
    if any("view" in source for source in definition.get("sources", ())):
        normal["sources"] = [_unnumbered(source) for source in definition["sources"]]
    return hashlib.sha256(canonical(normal).encode()).hexdigest()


def applied_view(definition: Json, metadata: Json, *, version: int) -> AppliedView:
    """The version that the two parts describe."""
    about = metadata["features"]
    return AppliedView(
        name=definition["name"],
        version=version,
        definition_hash=definition_hash(definition),
        entities=tuple(
            Entity(
                name=e["name"],
                join_keys={key: DType.parse(dtype) for key, dtype in e["join_keys"]},
                **metadata["entities"].get(e["name"], {}),
            )
            for e in definition["entities"]
        ),
        sources=tuple(
            parse_source(content, metadata["sources"].get(content["name"], {})) for content in definition["sources"]
        ),
        aggregations=tuple(_parse_aggregation(a) for a in definition.get("aggregations", ())),
        values_at=definition.get("values_at", "event"),
        features=tuple(
            Feature(
                name,
                DType.parse(dtype),
                unit=about[name]["unit"],
                description=about[name]["description"],
                tags=about[name]["tags"],
                expect=tuple(_parse_expectation(rule) for rule in about[name]["expect"]),
            )
            for name, dtype in definition["features"]
        ),
        schedule=definition["schedule"],
        delay=timedelta(microseconds=definition["delay"]),
        lookback=_optional_duration(definition["lookback"]),
        available=definition["available"],
        description=metadata["description"],
        owner=metadata["owner"],
        tags=metadata["tags"],
        retention=_optional_duration(metadata["retention"]),
        reprocess=metadata["reprocess"],
        quarantine_limit=metadata.get("quarantine_limit", NO_LIMIT),
        **parse_checks(metadata),
    )


def _windows_definition(view: FeatureView) -> Json:
    """What is aggregated: an entry for each feature, by name, however the code groups them; nothing without windows."""
    if not view.aggregations:
        return {}
    singles = sorted((single for a in view.aggregations for single in a.single), key=lambda single: single.names)
    return {"aggregations": [_aggregation(single) for single in singles], "values_at": view.values_at}


def _aggregation(single: Aggregation) -> Json:
    return {
        "name": single.name,
        "function": single.function,
        "column": single.column,
        "dtype": None if single.dtype is None else str(single.dtype),
        "window": duration_micros(single.windows[0]),
        "where": single.where,
        "n": single.n,
        "q": None if single.q is None else float(single.q),
    }


def _parse_aggregation(content: Mapping[str, Any]) -> Aggregation:
    return Aggregation(
        name=content["name"],
        function=content["function"],
        column=content["column"],
        dtype=None if content["dtype"] is None else DType.parse(content["dtype"]),
        windows=(timedelta(microseconds=content["window"]),),
        where=content["where"],
        n=content["n"],
        q=content["q"],
    )


def _unnumbered(source: Json) -> Json:
    return {k: v for k, v in source.items() if k != "version"} if "view" in source else source


def _optional_duration(micros: int | None) -> timedelta | None:
    return None if micros is None else timedelta(microseconds=micros)


def _expectation(expectation: Expectation) -> Json:
    return {
        "rule": expectation.rule,
        "severity": expectation.severity,
        "arguments": [_scalar(value) for value in expectation.arguments],
    }


def _parse_expectation(content: Mapping[str, Any]) -> Expectation:
    arguments = tuple(_parse_scalar(value) for value in content["arguments"])
    return Expectation(rule=content["rule"], severity=content["severity"], arguments=arguments)


def _scalar(value: Any) -> Any:
    """JSON tells 1 from 1.0 and true, but has no decimals, bytes or times: those are tagged."""
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    return value


def _parse_scalar(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    parsers: dict[str, Callable[[str], Any]] = {
        "datetime": datetime.fromisoformat,
        "date": date.fromisoformat,
        "decimal": Decimal,
        "bytes": bytes.fromhex,
    }
    return parsers[kind](text)
