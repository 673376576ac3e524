"""The aggregate functions of windows: what each takes, what it answers, and the type of the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from features.core.dtypes import DType
from features.errors import DefinitionError

_NUMBERS = frozenset({"int32", "int64", "float32", "float64", "decimal"})
_SCALARS = _NUMBERS | {"bool", "string", "bytes", "date", "timestamp"}
_ANY = _SCALARS | {"array", "vector"}
MAX_LAST_N = 1000
MAX_QUANTILE_DECIMALS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregate:
    """One function over the rows of a window; nulls are skipped by all.

    takes: the kinds of DType that its column may have. gives: its answer's type, of the column's. empty: the answer
    where no value is left. argument: the name of the one argument that it needs, `n` or `q`.
    """

    takes: frozenset[str]
    gives: Callable[[DType], DType]
    answer: str
    empty: int | None = None
    argument: str | None = None


def _same(dtype: DType) -> DType:
    return dtype


def _whole(_: DType) -> DType:
    return DType.INT64


def _float(_: DType) -> DType:
    return DType.FLOAT64


def _sum(dtype: DType) -> DType:
    if dtype.kind == "decimal":
        return DType.DECIMAL(min(38, dtype.precision + 10), dtype.scale)
    return DType.FLOAT64 if dtype.is_float else DType.INT64


AGGREGATES: Mapping[str, Aggregate] = MappingProxyType(
    {
        "count": Aggregate(takes=_ANY, gives=_whole, empty=0, answer="rows; of a column, its values that are not null"),
        "sum": Aggregate(takes=_NUMBERS | {"bool"}, gives=_sum, answer="exact sum, rounded once; of a bool, its trues"),
        "mean": Aggregate(takes=_NUMBERS | {"bool"}, gives=_float, answer="sum by count; of a bool, its share of true"),
        "stddev": Aggregate(takes=_NUMBERS, gives=_float, answer="sample standard deviation (n - 1); null below two"),
        "min": Aggregate(takes=_SCALARS, gives=_same, answer="least value; NaN is greatest"),
        "max": Aggregate(takes=_SCALARS, gives=_same, answer="greatest value; NaN is greatest"),
        "first": Aggregate(takes=_SCALARS, gives=_same, answer="value of the least (event, available, value)"),
        "last": Aggregate(takes=_SCALARS, gives=_same, answer="value of the greatest (event, available, value)"),
        "last_n": Aggregate(takes=_SCALARS, gives=DType.ARRAY, argument="n", answer="the last n values, oldest first"),
        "count_distinct": Aggregate(takes=_SCALARS, gives=_whole, empty=0, answer="different values; NaN equals NaN"),
        "approx_count_distinct": Aggregate(
            takes=_SCALARS, gives=_whole, empty=0, answer="different values, from a sketch; exact up to 2048"
        ),
        "percentile": Aggregate(
            takes=_NUMBERS | {"date", "timestamp"}, gives=_same, argument="q",
            answer="least value that at least q of the values do not exceed (nearest rank)",
        ),
    }
)  # fmt: skip


def output_dtype(function: str, dtype: DType | None) -> DType:
    """The type of `function` over a column of `dtype`; None stands for the rows themselves, which only count takes.

    Raises: DefinitionError: there is no such function, or it does not take such a column.
    """
    found = AGGREGATES.get(function)
    if found is None:
        raise DefinitionError(f"no aggregate function {function!r}; known: {', '.join(AGGREGATES)}")
    if dtype is None:
        if function != "count":
            raise DefinitionError(f"{function} needs a column; only count can do without one")
        return DType.INT64
    if dtype.kind not in found.takes:
        raise DefinitionError(
            f"{function} does not take a column of {dtype}; it takes {', '.join(sorted(found.takes))}"
        )
    return found.gives(dtype)


def check_arguments(function: str, *, n: int | None, q: float | None) -> None:
    """Refuses arguments that `function` does not take, lacks, or cannot use.

    n: how many values, 1 to 1000. q: 0 to 1, with at most 6 decimals, so that the rank it asks for is exact.
    Raises: DefinitionError.
    """
    wanted = AGGREGATES[function].argument
    for name, given in (("n", n), ("q", q)):
        if (given is not None) != (name == wanted):
            raise DefinitionError(f"{function}: {'needs' if name == wanted else 'takes no'} argument {name}")
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MAX_LAST_N):
        raise DefinitionError(f"{function}: n must be a whole number between 1 and {MAX_LAST_N}, got {n!r}")
    if q is not None and (isinstance(q, bool) or not isinstance(q, int | float) or not 0 <= q <= 1):
        raise DefinitionError(f"{function}: q must be a number between 0 and 1, got {q!r}")
    if q is not None and Decimal(repr(q)) != round(Decimal(repr(q)), MAX_QUANTILE_DECIMALS):
        raise DefinitionError(f"{function}: q must have at most {MAX_QUANTILE_DECIMALS} decimals, got {q!r}")
