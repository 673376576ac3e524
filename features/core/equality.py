"""When two values of a feature are the same."""

from typing import Any


def equal_values(one: Any, other: Any) -> bool:
    """Equality in which NaN equals NaN, inside lists too; null equals null."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal_values, one, other))
    return bool(one == other) or (one != one and other != other)
