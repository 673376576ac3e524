"""Differences between two canonical definitions, or their metadata, in words."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from features.core.canonical import Json, canonical
from features.core.definitions import NO_LIMIT
from features.core.references import parse_reference

_DURATIONS = ("delay", "lookback", "history", "retention", "window")
_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("us", 1))
# What is stored only where it is not this: that it comes to be this is told too.
_UNTOLD = {"pins": None, "quarantine_limit": NO_LIMIT, "checks": None, "suite": None}
_PARTS = {"entities": "entity", "features": "feature", "sources": "source"}


def describe_definition(old: Json, new: Json) -> tuple[str, ...]:
    """What differs between two versions of a view, of an on-demand view, or of a service."""
    if "transform" in new:
        return tuple(_view_changes(old, new))
    if "function" in new:
        return tuple(_on_demand_changes(old, new))
    return tuple(_list_changes("features", old["features"], new["features"]))


def describe_metadata(old: Json, new: Json) -> tuple[str, ...]:
    """What differs in what may change in place. Parts that only one of the two has are left to the definition."""
    return tuple(_metadata_changes(old, new))


def describe_created(definition: Json) -> tuple[str, ...]:
    """What a new view, on-demand view or service holds."""
    if "transform" in definition:
        return tuple(_new_view(definition))
    if "function" in definition:
        inputs = (f"{name} {what}" for name, what in _inputs(definition).items())
        return (f"inputs: {', '.join(inputs)}", f"features: {_features(definition)}")
    return (f"features: {', '.join(definition['features'])}",)


def _new_view(definition: Json) -> Iterator[str]:
    entities = (f"{name} ({keys})" for name, keys in _entity_keys(definition).items())
    yield f"entities: {', '.join(entities)}"
    yield f"features: {_features(definition)}"
    if reads := [_view_read(source) for source in definition["sources"] if "view" in source]:
        yield f"reads: {', '.join(reads)}"
    yield f"schedule: {definition['schedule'] or 'none'}, delay {_show('delay', definition['delay'])}"


def _features(definition: Json) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in definition["features"])


def _on_demand_changes(old: Json, new: Json) -> Iterator[str]:
    before, after = _inputs(old), _inputs(new)
    yield from _named("input", before, after)
    if sorted(before) == sorted(after) and list(before) != list(after):
        yield f"inputs: order {', '.join(before)} -> {', '.join(after)}"
    yield from _named("feature", dict(old["features"]), dict(new["features"]))
    if sorted(old["features"]) == sorted(new["features"]) and old["features"] != new["features"]:
        yield f"features: order {_features(old)} -> {_features(new)}"
    yield from _fields("", {"mode": old["mode"]}, {"mode": new["mode"]})
    if old["function"] != new["function"]:
        yield "function: its code changed"


def _inputs(definition: Json) -> dict[str, str]:
    """The inputs of an on-demand view, and what each is."""
    found = {}
    for item in definition["inputs"]:
        if "feature" in item:
            reference = parse_reference(item["feature"])
            found[f"{reference.name}:{reference.feature}"] = f"{item['dtype']} of version {reference.version}"
        else:
            found.update({name: f"{dtype} of the request" for name, dtype in item["schema"]})
    return found


def _view_changes(old: Json, new: Json) -> Iterator[str]:
    yield from _named("entity", _entity_keys(old), _entity_keys(new))
    yield from _named("feature", dict(old["features"]), dict(new["features"]))
    before = {source["name"]: source for source in old["sources"]}
    after = {source["name"]: source for source in new["sources"]}
    yield from _added_and_removed("source", before, after)
    for name in after:
        if name in before:
            yield from _source_changes(name, before[name], after[name])
    for part in ("entities", "sources"):
        names = [[item["name"] for item in side[part]] for side in (old, new)]
        if sorted(names[0]) == sorted(names[1]) and names[0] != names[1]:
            yield f"{part}: order {', '.join(names[0])} -> {', '.join(names[1])}"
    yield from _aggregation_changes(old, new)
    plain = {key: value for key, value in new.items() if key not in (*_PARTS, "transform", "aggregations")}
    yield from _fields("", {key: old.get(key) for key in plain}, plain)
    if old["transform"] != new["transform"]:
        yield "transform: its code changed"


def _source_changes(name: str, old: Json, new: Json) -> Iterator[str]:
    was, now = _view_read(old), _view_read(new)
    if (was or now) and was != now:
        yield f"source {name}: reads {now or 'no view'}, was {was or 'no view'}"
    plain = {key: value for key, value in new.items() if key not in ("view", "version", "definition")}
    yield from _fields(f"source {name}: ", old, plain)


def _view_read(source: Json) -> str:
    """The view that a source is, as `view@version`; empty for a source of another kind."""
    return f"{source['view']}@{source['version']}" if "view" in source else ""


def _aggregation_changes(old: Json, new: Json) -> Iterator[str]:
    """What differs in how features come of windows; that one comes or goes is told of the feature."""
    sides = [{item["name"]: item for item in side.get("aggregations", ())} for side in (old, new)]
    before, after = ({name: side.get(name) for name, _ in new["features"]} for side in sides)
    known = dict(old["features"])
    for name, item in after.items():
        was = before[name]
        if was is not None and item is not None:
            yield from _fields(f"feature {name}: ", was, item)
        elif name in known and (was is None) != (item is None):
            yield f"feature {name}: {'of a window now' if item is not None else 'of the transform now'}"


def _metadata_changes(old: Json, new: Json) -> Iterator[str]:
    plain = {key: value for key, value in (_UNTOLD | new).items() if key not in _PARTS}
    yield from _fields("", {key: old.get(key, _UNTOLD.get(key)) for key in plain}, plain)
    for part, word in _PARTS.items():
        before, after = old.get(part, {}), new.get(part, {})
        for name in after:
            if name in before:
                yield from _fields(f"{word} {name}: ", before[name], after[name])


def _entity_keys(definition: Json) -> dict[str, str]:
    return {e["name"]: ", ".join(f"{key} {dtype}" for key, dtype in e["join_keys"]) for e in definition["entities"]}


def _named(word: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    yield from _added_and_removed(word, old, new)
    for name, value in new.items():
        if name in old and old[name] != value:
            yield f"{word} {name}: {old[name]} -> {value}"


def _added_and_removed(word: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{word} {name}: added" for name in new if name not in old)
    yield from (f"{word} {name}: removed" for name in old if name not in new)


def _list_changes(word: str, old: list[str], new: list[str]) -> Iterator[str]:
    yield from (f"{word}: {item} added" for item in new if item not in old)
    yield from (f"{word}: {item} removed" for item in old if item not in new)
    if sorted(old) == sorted(new) and old != new:
        yield f"{word}: order {', '.join(old)} -> {', '.join(new)}"


def _fields(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key, value in new.items():
        if old.get(key) != value:
            yield f"{prefix}{key}: {_show(key, old.get(key))} -> {_show(key, value)}"


def _show(key: str, value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    if key in _DURATIONS:
        return _duration(value)
    if key == "tags":
        return ", ".join(f"{tag}={text}" for tag, text in value.items())
    if key == "expect":
        return ", ".join(map(_rule, value))
    if key == "checks":
        return ", ".join(map(_check, value))
    if key == "suite":
        # Two contents of one file differ in their digest.
        digest = hashlib.sha256(canonical(value).encode()).hexdigest()
        return f"{value['path']} ({len(value['expectations'])} expectations, {digest[:8]})"
    return repr(value)


def _rule(rule: Json) -> str:
    arguments = ", ".join(str(next(iter(a.values()))) if isinstance(a, dict) else repr(a) for a in rule["arguments"])
    return f"{rule['rule']}({arguments}) {rule['severity']}"


def _check(check: Json) -> str:
    limits = (f"{name}={_limit(value)}" for name, value in check["limits"].items())
    return f"{check['rule']}({', '.join([check['column'], *limits])}) over {check['over']} {check['severity']}"


def _limit(value: Any) -> str:
    return _duration(value["micros"]) if isinstance(value, dict) else repr(value)


def _duration(micros: int) -> str:
    parts = []
    for unit, size in _UNITS:
        count, micros = divmod(micros, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0"
