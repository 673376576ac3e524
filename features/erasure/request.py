"""What is to be erased: keys of an entity; and which view versions they concern."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.arrow_types import to_arrow
from features.core.dtypes import DType
from features.core.key_text import parse_key, write_key
from features.errors import NotFoundError, UsageError
from features.registry import Erasure
from features.stores.filesystems import open_filesystem

if TYPE_CHECKING:
    import pyarrow as pa

# All of them go to every task, and wait in the registry until the erasure is done.
MOST_KEYS = 100_000
# How the gate cuts long keys in what it keeps of a run.
_SHOWN_LENGTH = 40
GONE = "<erased>"
# As Python writes texts and bytes, perhaps cut.
_QUOTED = r"""b?'(?:[^'\\]|\\.)*'(?:\.\.\.)?|b?"(?:[^"\\]|\\.)*"(?:\.\.\.)?"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasureRequest:
    """Keys of one entity. columns: its join keys. keys: their values as text (see `parse_key`), distinct, sorted."""

    entity: str
    columns: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, erasure: Erasure) -> "ErasureRequest":
        """What an open erasure asks for."""
        return cls(entity=erasure.entity, columns=erasure.columns, keys=erasure.keys)

    def concerned(self, views: Iterable[AppliedView]) -> tuple[AppliedView, ...]:
        """The view versions whose join keys include all of the entity's.

        Not those where an entity of another name has exactly these join keys: `id` of a user is no `id` of a product.
        """
        return tuple(view for view in views if self._concerns(view))

    def _concerns(self, view: AppliedView) -> bool:
        others = (e for e in view.entities if e.name != self.entity and set(e.join_keys) == set(self.columns))
        return set(self.columns) <= set(view.join_keys) and not any(others)

    def typed(self, types: Mapping[str, DType]) -> "pa.Table":
        """The keys as columns of these types, distinct; those that no value of a type can be are left out."""
        import pyarrow as pa

        found = {row for key in self.keys if (row := _row(self.columns, key, types)) is not None}
        columns = list(zip(*sorted(found), strict=True)) or [()] * len(self.columns)
        arrays = [to_arrow(values, types[name]) for name, values in zip(self.columns, columns, strict=True)]
        return pa.table(arrays, names=list(self.columns))

    def scrubber(self, types: Sequence[Mapping[str, DType]]) -> Callable[[str], str]:
        """A function that takes these keys out of texts such as `carrier='UA', origin='EWR'`.

        types: those that the join keys have in some view.
        """
        known = {name: self._written(place, [t[name] for t in types]) for place, name in enumerate(self.columns)}
        names = "|".join(map(re.escape, self.columns))
        told = re.compile(
            rf"(?<!\w)({names})=(b?'(?:[^'\\]|\\.)*'(?:\.\.\.)?|b?\"(?:[^\"\\]|\\.)*\"(?:\.\.\.)?|[^\s,;]+)"
        )

        def scrub(text: str) -> str:
            found = {match[1] for match in told.finditer(text) if match[2] in known[match[1]]}
            if found != set(self.columns):
                return text
            return told.sub(lambda m: f"{m[1]}={GONE}" if m[2] in known[m[1]] else m[0], text)

        return scrub

    def _written(self, place: int, types: Sequence[DType]) -> set[str]:
        """All ways in which messages write the values of a column."""
        found: set[str] = set()
        for key in self.keys:
            found |= {key[place], repr(key[place])}
            for dtype in set(types):
                try:
                    value = parse_key(key[place], dtype, name=self.columns[place])
                except UsageError:
                    continue
                found |= {str(value), repr(value)}
                if isinstance(value, str | bytes):
                    found.add(f"{value[:_SHOWN_LENGTH]!r}...")
                if isinstance(value, date | datetime):
                    found.add(value.isoformat())
        return found


def make_request(
    keys: Sequence[Mapping[str, Any]], *, entity: str | None, views: Sequence[AppliedView]
) -> ErasureRequest:
    """The request for these keys.

    Args:
        keys: each with all join keys of the entity, by name; values as Python values, or as text.
        entity: its name; None: the one that has these join keys.
        views: all registered versions.

    Raises:
        UsageError: no keys, too many, or other columns than the entity's; a value is none of the key's type.
        NotFoundError: no such entity.
    """
    if not keys:
        raise UsageError("which rows? give the keys of an entity, such as --key carrier=UA")
    if len(keys) > MOST_KEYS:
        raise UsageError(f"{len(keys)} keys in one request; {MOST_KEYS} are the most, so make several")
    given = set(keys[0])
    if any(set(key) != given for key in keys):
        raise UsageError("all keys of a request must have the same join keys; make a request for each entity")
    name, columns, types = _find_entity(given, entity, views)
    texts = set()
    for key in keys:
        texts.add(tuple(_text(key[column], column) for column in columns))
    request = ErasureRequest(entity=name, columns=columns, keys=tuple(sorted(texts)))
    if lost := [key for key in request.keys if not any(_row(columns, key, kind) for kind in types)]:
        told = ", ".join(f"{column}: {' or '.join(sorted({str(t[column]) for t in types}))}" for column in columns)
        raise UsageError(
            f"{len(lost)} of {len(texts)} keys are not of the types of {name!r} ({told}); nothing was done"
        )
    return request


def read_keys(path: str) -> tuple[dict[str, Any], ...]:
    """The keys in a file, CSV with a header (values as text) or Parquet: its columns are the entity's join keys.

    Raises: UsageError: it cannot be read, or holds a null.
    """
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    filesystem, inner = open_filesystem(path)
    try:
        with filesystem.open_input_file(inner) as file:
            if path.lower().endswith(".csv"):
                names = csv.open_csv(file).schema.names
                file.seek(0)
                texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
                table = csv.read_csv(file, convert_options=texts)
            else:
                table = pq.read_table(file)
    except (OSError, pa.ArrowException) as exc:
        raise UsageError(f"the keys at {path} cannot be read: {exc}; give CSV with a header, or Parquet") from exc
    if any(column.null_count for column in table.columns):
        raise UsageError(f"the keys at {path} hold nulls, which no row has as a key; take them out")
    return tuple(table.to_pylist())


def _find_entity(
    given: set[str], entity: str | None, views: Sequence[AppliedView]
) -> tuple[str, tuple[str, ...], list[Mapping[str, DType]]]:
    """The name of the entity with these join keys, them in order, and the types that they have in some version."""
    entities = [e for view in views for e in view.entities]
    if entity is not None and entity not in {e.name for e in entities}:
        raise NotFoundError.of("entity", entity, (e.name for e in entities))
    fitting = [e for e in entities if set(e.join_keys) == given and entity in (None, e.name)]
    names = sorted({e.name for e in fitting})
    if len(names) > 1:
        raise UsageError(f"{', '.join(sorted(given))} are the join keys of {' and '.join(names)}; say which: --entity")
    if not fitting:
        wanted = sorted({f"{e.name} ({', '.join(e.join_keys)})" for e in entities if entity in (None, e.name)})
        raise UsageError(
            f"{', '.join(sorted(given))} are not the join keys of an entity; give all of one: {', '.join(wanted)}"
        )
    types: list[Mapping[str, DType]] = []
    for found in fitting:
        if found.join_keys not in types:
            types.append(found.join_keys)
    return names[0], tuple(fitting[-1].join_keys), types


def _row(columns: Sequence[str], key: Sequence[str], types: Mapping[str, DType]) -> tuple[Any, ...] | None:
    """A key's values in these types; None: one is of another."""
    import pyarrow as pa

    try:
        row = tuple(parse_key(text, types[name], name=name) for name, text in zip(columns, key, strict=True))
        for name, value in zip(columns, row, strict=True):
            to_arrow([value], types[name])
    except (UsageError, pa.ArrowException, OverflowError, ValueError):
        return None
    return row


def _text(value: Any, column: str) -> str:
    try:
        return write_key(value)
    except UsageError as exc:
        raise UsageError(f"{column}: {exc}") from exc
