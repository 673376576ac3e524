"""A team's own suite of Great Expectations for a view: a JSON file, as far as it can be judged without that library."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import DefinitionError, NotFoundError

_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list", "column_set")
_MAX_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """The expectations of a file, as Great Expectations writes them: `type`, `kwargs`, `severity` and so on.

    path: of the file, relative to the working folder of `features apply`, whose content counts from then on.
    """

    path: str
    expectations: Sequence[Mapping[str, Any]]


def read_suite(path: str, *, columns: Sequence[str], owner: str) -> Suite:
    """The suite in a file, whose expectations name nothing but these columns.

    Raises: DefinitionError: there is no such file, it is no suite, or an expectation names another column.
    """
    try:
        content = Path(path).read_bytes()[: _MAX_BYTES + 1]
    except OSError as exc:
        raise DefinitionError(
            f"{owner}: suite {path!r} cannot be read: {exc.strerror}; paths are relative to the working folder"
        ) from exc
    if len(content) > _MAX_BYTES:
        raise DefinitionError(
            f"{owner}: suite {path!r} is larger than {_MAX_BYTES:,} bytes; split the view, or the suite"
        )
    try:
        parsed = json.loads(content, parse_constant=_refuse_constant)
    except ValueError as exc:
        raise DefinitionError(f"{owner}: suite {path!r} is not JSON: {exc}") from exc
    listed = parsed.get("expectations") if isinstance(parsed, dict) else None
    if not isinstance(listed, list) or not listed:
        raise DefinitionError(
            f'{owner}: suite {path!r} is no suite: write {{"expectations": [{{"type": ..., "kwargs": {{...}}}}]}}, '
            "as Great Expectations stores one"
        )
    for number, expectation in enumerate(listed, start=1):
        _check_expectation(expectation, columns, owner=f"{owner}: suite {path!r}: expectation {number}")
    return Suite(path=path, expectations=tuple(listed))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _check_expectation(expectation: Any, columns: Sequence[str], *, owner: str) -> None:
    if not isinstance(expectation, dict) or not isinstance(expectation.get("type"), str):
        raise DefinitionError(f'{owner} has no "type", such as "expect_column_values_to_be_between"')
    if not isinstance(expectation.get("kwargs", {}), dict):
        raise DefinitionError(f'{owner} ({expectation["type"]}): "kwargs" must be an object')
    for column in _named_columns(expectation.get("kwargs", {})):
        if column not in columns:
            missing = NotFoundError.of("column", str(column), columns)
            raise DefinitionError(f"{owner} ({expectation['type']}): {missing}")
    # In conditions, Spark takes a name in any case.
    folded = {column.casefold() for column in columns}
    for column in _columns_of_condition(expectation.get("kwargs", {}).get("row_condition")):
        if column.casefold() not in folded:
            missing = NotFoundError.of("column", column, columns)
            raise DefinitionError(f"{owner} ({expectation['type']}): row_condition: {missing}")


def _named_columns(kwargs: Mapping[str, Any]) -> Iterator[Any]:
    for argument in _COLUMN_ARGUMENTS:
        named = kwargs.get(argument)
        if isinstance(named, list):
            yield from named
        elif named is not None:
            yield named


def _columns_of_condition(condition: Any) -> Iterator[str]:
    """The columns that a row_condition names. One that is text is for Spark to judge, in the run."""
    if not isinstance(condition, dict):
        return
    column, parts = condition.get("column"), condition.get("conditions")
    if isinstance(column, dict) and isinstance(column.get("name"), str):
        yield column["name"]
    for part in parts if isinstance(parts, list) else ():
        yield from _columns_of_condition(part)
