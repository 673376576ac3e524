"""The types that a feature or a join key may have, and how each store spells them."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from features.errors import DefinitionError

_SPARK = {
    "bool": "boolean", "int32": "int", "int64": "bigint", "float32": "float", "float64": "double",
    "string": "string", "bytes": "binary", "date": "date", "timestamp": "timestamp",
}  # fmt: skip
_CQL = {
    "bool": "boolean", "int32": "int", "int64": "bigint", "float32": "float", "float64": "double", "decimal": "decimal",
    "string": "text", "bytes": "blob", "date": "date", "timestamp": "bigint",
}  # fmt: skip
_PYTHON: dict[str, tuple[type, ...]] = {
    "bool": (bool,), "int32": (int,), "int64": (int,), "float32": (float, int), "float64": (float, int),
    "decimal": (Decimal, int), "string": (str,), "bytes": (bytes,), "date": (date,), "timestamp": (datetime,),
    "array": (list, tuple), "vector": (list, tuple),
}  # fmt: skip
_PATTERN = re.compile(r"(?P<kind>[a-z0-9]+)(?:\((?P<precision>\d+),(?P<scale>\d+)\)|<(?P<inner>.+)>)?")


@dataclass(frozen=True, slots=True)
class DType:
    """A type: `DType.FLOAT64`, `DType.DECIMAL(12, 2)`, `DType.ARRAY(DType.STRING)`, `DType.VECTOR(384)`.

    TIMESTAMP is an instant in UTC, in microseconds. ARRAY holds any number of elements, VECTOR exactly `length`
    32-bit floats; neither holds null elements.
    """

    kind: str
    precision: int = 0
    scale: int = 0
    length: int = 0
    element: "DType | None" = None

    BOOL: ClassVar["DType"]
    INT32: ClassVar["DType"]
    INT64: ClassVar["DType"]
    FLOAT32: ClassVar["DType"]
    FLOAT64: ClassVar["DType"]
    STRING: ClassVar["DType"]
    BYTES: ClassVar["DType"]
    DATE: ClassVar["DType"]
    TIMESTAMP: ClassVar["DType"]

    @staticmethod
    def DECIMAL(precision: int, scale: int) -> "DType":  # noqa: N802 - reads as a type beside DType.STRING
        """A decimal of `precision` digits, `scale` of them behind the point; at most 38 digits."""
        if not (_is_whole(precision) and _is_whole(scale) and 1 <= precision <= 38 and 0 <= scale <= precision):
            raise DefinitionError(
                f"DECIMAL({precision!r}, {scale!r}): needs whole numbers, "
                "1 <= precision <= 38 and 0 <= scale <= precision"
            )
        return DType("decimal", precision=precision, scale=scale)

    @staticmethod
    def ARRAY(element: "DType") -> "DType":  # noqa: N802
        """A list of any length, of a scalar type."""
        if not isinstance(element, DType) or element.is_list:
            raise DefinitionError(f"ARRAY({element}): elements must be of a scalar DType")
        return DType("array", element=element)

    @staticmethod
    def VECTOR(length: int) -> "DType":  # noqa: N802
        """A list of exactly `length` 32-bit floats, such as an embedding: 1 <= length <= 8192."""
        if not _is_whole(length) or not 1 <= length <= 8192:
            raise DefinitionError(f"VECTOR({length!r}): the length must be a whole number between 1 and 8192")
        return DType("vector", length=length)

    @staticmethod
    def parse(text: str) -> "DType":
        """The type that `str(dtype)` wrote. Raises: DefinitionError: it is none."""
        match = _PATTERN.fullmatch(text)
        kind = match["kind"] if match else text
        if match and match["inner"] and kind == "array":
            return DType.ARRAY(DType.parse(match["inner"]))
        if match and kind == "vector" and (match["inner"] or "").isdecimal():
            return DType.VECTOR(int(match["inner"]))
        if match and match["precision"] and kind == "decimal":
            return DType.DECIMAL(int(match["precision"]), int(match["scale"]))
        if kind in _SPARK and kind == text:
            return DType(kind)
        raise DefinitionError(f"{text!r} is not a type; known: {', '.join(_SPARK)}, decimal(p,s), array<t>, vector<n>")

    def __str__(self) -> str:
        if self.kind == "decimal":
            return f"decimal({self.precision},{self.scale})"
        if self.kind == "array":
            return f"array<{self.element}>"
        if self.kind == "vector":
            return f"vector<{self.length}>"
        return self.kind

    @property
    def is_list(self) -> bool:
        """Whether values are lists: ARRAY and VECTOR."""
        return self.kind in ("array", "vector")

    @property
    def is_float(self) -> bool:
        """Whether values are binary floating point, which can never be a join key."""
        return self.kind in ("float32", "float64")

    @property
    def is_numeric(self) -> bool:
        """Whether values can be ordered and averaged as numbers."""
        return self.kind in ("int32", "int64", "float32", "float64", "decimal")

    @property
    def spark(self) -> str:
        """The type in Spark SQL's words, as in a DDL string."""
        if self.kind == "decimal":
            return f"decimal({self.precision},{self.scale})"
        if self.kind == "vector":
            return "array<float>"
        if self.element is not None:
            return f"array<{self.element.spark}>"
        return _SPARK[self.kind]

    @property
    def cql(self) -> str:
        """The type in CQL's words. TIMESTAMP is a bigint of microseconds: Cassandra's own holds milliseconds only."""
        if self.kind == "vector":
            return f"vector<float, {self.length}>"
        if self.element is not None:
            return f"frozen<list<{self.element.cql}>>"
        return _CQL[self.kind]

    def accepts(self, value: Any) -> bool:
        """Whether a Python value, not None, is one of this type. Timestamps must be aware."""
        kinds = _PYTHON[self.kind]
        if not issubclass(type(value), kinds) or (isinstance(value, bool) and self.kind != "bool"):
            return False
        if self.kind in ("int32", "int64"):
            bits = int(self.kind[3:])
            return bool(-(1 << bits - 1) <= value < 1 << bits - 1)
        if self.kind == "date":
            return not isinstance(value, datetime)
        if self.kind == "timestamp":
            return bool(value.utcoffset() is not None)
        if self.kind == "vector":
            return len(value) == self.length and all(DType.FLOAT32.accepts(v) for v in value)
        if self.element is not None:
            return all(self.element.accepts(v) for v in value)
        return True


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


for _kind in _SPARK:
    setattr(DType, _kind.upper(), DType(_kind))
