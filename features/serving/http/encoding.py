"""Columns as JSON, fast: most need no conversion, and most statuses and event times are written once for many columns.

msgspec writes NaN and the infinities as null. So columns are encoded as they are, and where the text then has as many
nulls as the columns have, there was none of them; else floats are converted and all is encoded again. (A text that
holds "null", or an object that came along with one, costs the second time, and nothing else.)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from features.core.dtypes import DType
from features.serving.json_values import column_to_json

Columns = Mapping[str, Sequence[Any]]
_Item = TypeVar("_Item")

_AS_IS = frozenset({"bool", "int32", "int64", "string", "float32", "float64"})

encode = msgspec.json.Encoder().encode


def encode_columns(columns: Columns, types: Mapping[str, DType], wrap: Callable[[Columns], Any]) -> bytes:
    """The text of what `wrap` makes of columns in JSON's types; every null in it must be one of theirs.

    Args:
        types: by column; one without has come as JSON.
        wrap: may be called twice.
    """
    nearly = {
        name: values if _is_as_is(types.get(name)) else column_to_json(values, types.get(name))
        for name, values in columns.items()
    }
    text = encode(wrap(nearly))
    if text.count(b"null") == sum(values.count(None) for values in nearly.values()):
        return text
    return encode(wrap({name: column_to_json(values, types.get(name)) for name, values in columns.items()}))


class TextColumns(Generic[_Item]):
    """Columns of few different texts, encoded, each sequence of items once. write: an item as text, or None."""

    def __init__(self, write: Callable[[_Item], str | None]) -> None:
        self._write = write
        self._known: dict[tuple[_Item, ...], msgspec.Raw] = {}

    def encode(self, items: Sequence[_Item]) -> msgspec.Raw:
        """A list of texts."""
        key = tuple(items)
        found = self._known.get(key)
        if found is None:
            texts = {item: self._write(item) for item in set(key)}
            found = self._known[key] = msgspec.Raw(encode([texts[item] for item in key]))
        return found


def _is_as_is(dtype: DType | None) -> bool:
    return dtype is None or dtype.kind in _AS_IS
