"""Aggregations: what is counted, summed or looked up in sliding windows, and the features that come of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from features.core.aggregates import check_arguments, output_dtype
from features.core.checks import (
    RESERVED_COLUMNS,
    check_duration,
    check_tags,
    check_text,
    check_unique,
    fail,
    freeze_items,
)
from features.core.dtypes import DType
from features.core.expect import Expectation
from features.core.feature import Feature
from features.errors import DefinitionError

VALUES_AT = ("event", "tick")
_WINDOW = "{window}"
_DAY = timedelta(days=1)
_UNITS = (
    ("d", _DAY),
    ("h", timedelta(hours=1)),
    ("m", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
    ("ms", timedelta(milliseconds=1)),
    ("us", timedelta(microseconds=1)),
)
# A filter is a fact about a row: one that asks the clock or the dice would give another answer to a rerun.
_UNSTEADY = re.compile(
    r"\b((?:current_(?:date|time|timestamp|user)|localtimestamp|session_user)\b"
    r"|(?:now|curdate|rand|randn|random|randstr|uniform|uuid|shuffle|monotonically_increasing_id|spark_partition_id"
    r"|input_file_name)(?=\s*\())",
    re.IGNORECASE,
)
# A filter tells of each row by itself: what else was read with it, such as history, must not decide.
_OTHER_ROWS = re.compile(r"\b(over)\s*\(|\(\s*(select)\b", re.IGNORECASE)
_LONGEST = timedelta(days=366 * 10_000)
# What is quoted is a text, or a column's name.
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`")


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregation:
    """One function of one column over sliding windows, each of which is a feature.

    `Aggregation(column="amount", dtype=DType.FLOAT64, function="mean", windows=[timedelta(days=7)])` is the feature
    `amount_mean_7d`. Nulls are skipped; where no value is left the answer is null, and 0 for counts. docs/windows.md
    says which rows a window holds, features/core/aggregates.py what the functions take and answer.

    column: of the rows that the transform returns, or of the source; None counts rows.
    dtype: the column's type; the features' follow from it.
    windows: how far each reaches back.
    where: rows that count, as a SQL condition over the rows' columns, such as "amount > 100"; null does not count.
    name: of the feature, where there is one window, or a template that holds {window}, such as "spend_{window}"; None:
        `<column>_<function>_{window}`.
    n: how many values last_n keeps. q: the quantile that percentile finds, 0 to 1.
    unit, description (may hold {window}), expect, tags: of each feature.
    """

    function: str
    windows: Sequence[timedelta]
    column: str | None = None
    dtype: DType | None = None
    where: str | None = None
    name: str | None = None
    n: int | None = None
    q: float | None = None
    unit: str | None = None
    description: str = ""
    expect: Sequence[Expectation] | Expectation = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        me = self._describe()
        check_text(self.function, owner=me, field="function", required=True)
        if self.column is not None:
            check_text(self.column, owner=me, field="column", required=True)
            if self.column in RESERVED_COLUMNS:
                raise fail(me, "column", f"{self.column!r} is a column of the feature store itself")
            if not isinstance(self.dtype, DType):
                raise fail(me, "dtype", f"must be the column's DType, such as DType.FLOAT64, got {self.dtype!r}")
        elif self.dtype is not None:
            raise fail(me, "dtype", "needs a column that is of it")
        try:
            output_dtype(self.function, self.dtype)
            check_arguments(self.function, n=self.n, q=self.q)
        except DefinitionError as exc:
            raise DefinitionError(f"{me}: {exc}") from exc
        object.__setattr__(self, "windows", freeze_items(self.windows, timedelta, owner=me, field="windows"))
        for window in self.windows:
            check_duration(window, owner=me, field="windows", positive=True)
            if window > _LONGEST:
                raise fail(me, "windows", f"must be at most 10,000 years, got {window}")
        check_unique(map(label_window, self.windows), owner=me, field="windows")
        self._check_where(me)
        self._check_name(me)
        check_text(self.description, owner=me, field="description")
        rules = (self.expect,) if isinstance(self.expect, Expectation) else self.expect
        object.__setattr__(self, "expect", freeze_items(rules, Expectation, owner=me, field="expect", required=False))
        object.__setattr__(self, "tags", check_tags(self.tags, owner=me))
        try:
            made = self.features
        except DefinitionError as exc:
            raise DefinitionError(f"{me}: {exc}") from exc
        check_unique((feature.name for feature in made), owner=me, field="names")

    def _check_where(self, me: str) -> None:
        if self.where is None:
            return
        check_text(self.where, owner=me, field="where", required=True)
        bare = _QUOTED.sub("", self.where)
        if found := _UNSTEADY.search(bare):
            raise fail(me, "where", f"{self.where!r} asks {found[0]}, which answers differently when a run is repeated")
        if found := _OTHER_ROWS.search(bare):
            word = (found[1] or found[2]).lower()
            raise fail(me, "where", f"{self.where!r} looks at other rows ({word}); compute it in a transform")

    def _check_name(self, me: str) -> None:
        if self.name is None:
            return
        check_text(self.name, owner=me, field="name", required=True)
        if len(self.windows) > 1 and _WINDOW not in self.name:
            raise fail(me, "name", f"{self.name!r} would name {len(self.windows)} features; let it hold {_WINDOW}")

    def _describe(self) -> str:
        return f"Aggregation {self.function!r} of {'rows' if self.column is None else repr(self.column)}"

    @property
    def output_dtype(self) -> DType:
        """The type of the features."""
        return output_dtype(self.function, self.dtype)

    @property
    def names(self) -> tuple[str, ...]:
        """The feature's name of each window."""
        column = () if self.column is None else (self.column.lower(),)
        template = "_".join((*column, self.function, _WINDOW)) if self.name is None else self.name
        return tuple(template.replace(_WINDOW, label_window(window)) for window in self.windows)

    @property
    def features(self) -> tuple[Feature, ...]:
        """One feature for each window, in order."""
        return tuple(
            Feature(
                name,
                self.output_dtype,
                unit=self.unit,
                description=self.description.replace(_WINDOW, label_window(window)),
                expect=self.expect,
                tags=self.tags,
            )
            for name, window in zip(self.names, self.windows, strict=True)
        )

    @property
    def single(self) -> "tuple[Aggregation, ...]":
        """One aggregation for each window, named as its feature, without what may change in place."""
        return tuple(
            Aggregation(
                function=self.function,
                windows=(window,),
                column=self.column,
                dtype=self.dtype,
                where=self.where,
                name=name,
                n=self.n,
                q=self.q,
            )
            for name, window in zip(self.names, self.windows, strict=True)
        )


def longest_window(aggregations: Sequence[Aggregation]) -> timedelta:
    """The longest window of any; zero where there is none."""
    return max((window for a in aggregations for window in a.windows), default=timedelta(0))


def label_window(window: timedelta) -> str:
    """How a window is named: 30m, 1h, 24h, 7d; in the largest unit that divides it, in days from two on."""
    fitting = ((unit, size) for unit, size in _UNITS if not window % size and (size < _DAY or window > _DAY))
    unit, size = next(fitting)
    return f"{window // size}{unit}"
