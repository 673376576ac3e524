"""Checks that definitions share. Each failure names the definition and the field."""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType, UnionType
from typing import Any

from features.errors import DefinitionError

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
MAX_IDENTIFIER = 48
# Cassandra allows 48 characters in a table's name, and `<view>__v<N>` adds a version.
MAX_VIEW_NAME = 40
RESERVED_COLUMNS = frozenset(
    {"event_timestamp", "created_timestamp", "available_timestamp", "_op", "_seq", "_interval"}
)  # fmt: skip


def fail(owner: str, field: str, why: str) -> DefinitionError:
    """The error for a field of a definition, such as `Feature 'age': dtype must be ...`."""
    return DefinitionError(f"{owner}: {field} {why}")


def check_name(value: Any, *, owner: str, field: str = "name", limit: int = MAX_IDENTIFIER) -> str:
    """A lower-case identifier that every store takes unquoted. Raises: DefinitionError."""
    if not isinstance(value, str):
        raise fail(owner, field, f"must be a string, got {type(value).__name__}")
    if not _IDENTIFIER.fullmatch(value) or len(value) > limit:
        raise fail(
            owner,
            field,
            f"{value!r} must be lower case letters, digits and _, start with a letter, "
            f"and have at most {limit} characters",
        )
    if "__" in value or value.endswith("_"):
        raise fail(
            owner, field, f"{value!r} must not hold __ or end with _, which separate a view from its feature or version"
        )
    return value


def check_text(value: Any, *, owner: str, field: str, required: bool = False) -> str:
    """A string; not blank where required. Raises: DefinitionError."""
    if not isinstance(value, str):
        raise fail(owner, field, f"must be a string, got {type(value).__name__}")
    if required and not value.strip():
        raise fail(owner, field, "must not be empty")
    return value


def check_duration(value: Any, *, owner: str, field: str, positive: bool = False) -> timedelta:
    """A timedelta of zero or more, or of more than zero. Raises: DefinitionError."""
    if not isinstance(value, timedelta):
        raise fail(owner, field, f"must be a timedelta, got {type(value).__name__}")
    if value < timedelta(0) or (positive and not value):
        raise fail(owner, field, f"must be {'positive' if positive else 'zero or more'}, got {value}")
    return value


def check_share(value: Any, *, owner: str, field: str) -> float:
    """A number from 0 to 1. Raises: DefinitionError."""
    # NaN is neither.
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise fail(owner, field, f"must be a number from 0 to 1, got {value!r}")
    return float(value)


def check_choice(value: Any, choices: Iterable[str], *, owner: str, field: str) -> str:
    """One of the choices. Raises: DefinitionError."""
    known = tuple(choices)
    if value not in known:
        raise fail(owner, field, f"must be one of {', '.join(map(repr, known))}, got {value!r}")
    return str(value)


def freeze_items(
    value: Any, kind: type | UnionType, *, owner: str, field: str, required: bool = True
) -> tuple[Any, ...]:
    """A tuple of a list or tuple of `kind`. Raises: DefinitionError: another type inside, or empty where required."""
    name = " or ".join(one.__name__ for one in (kind.__args__ if isinstance(kind, UnionType) else (kind,)))
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise fail(owner, field, f"must be a list of {name}, got {type(value).__name__}")
    items = tuple(value)
    for item in items:
        if not isinstance(item, kind):
            raise fail(owner, field, f"must hold {name} only, got {type(item).__name__} {item!r}")
    if required and not items:
        raise fail(owner, field, f"must hold at least one {name}")
    return items


def freeze_mapping(value: Any, *, owner: str, field: str) -> Mapping[str, Any]:
    """A read-only copy of a mapping with string keys. Raises: DefinitionError."""
    if not isinstance(value, Mapping) or any(not isinstance(key, str) for key in value):
        raise fail(owner, field, "must be a mapping with string keys")
    return MappingProxyType(dict(value))


def check_tags(value: Any, *, owner: str) -> Mapping[str, str]:
    """Tags: a mapping of strings to strings. Raises: DefinitionError."""
    tags = freeze_mapping(value, owner=owner, field="tags")
    for key, tag in tags.items():
        check_text(tag, owner=owner, field=f"tags[{key!r}]")
    return tags


def check_unique(names: Iterable[str], *, owner: str, field: str) -> None:
    """No name twice. Raises: DefinitionError: names the repeated one."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise fail(owner, field, f"holds {name!r} twice")
        seen.add(name)
