"""What authors write of on-demand features: values that a function computes when they are asked for.

The function is given features that are stored and columns of the request, and is the same object online and in
training. docs/on-demand.md tells how to write one.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from features.core.checks import (
    RESERVED_COLUMNS,
    check_choice,
    check_name,
    check_tags,
    check_text,
    check_unique,
    fail,
    freeze_items,
    freeze_mapping,
)
from features.core.code import syntax_tree
from features.core.definitions import Feature
from features.core.dtypes import DType
from features.core.references import Reference, parse_reference
from features.errors import DefinitionError

MODES = ("pandas", "arrow")


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestSource:
    """Columns that come with the request: online in each entity row, in training in the spine.

    schema: column to type. A value may be null. A column may be a join key of the views that are read, of its type.
    """

    name: str
    schema: Mapping[str, DType]
    description: str = ""

    def __post_init__(self) -> None:
        me = f"RequestSource {self.name!r}"
        check_name(self.name, owner=me)
        object.__setattr__(self, "schema", freeze_mapping(self.schema, owner=me, field="schema"))
        if not self.schema:
            raise fail(me, "schema", "must hold at least one column")
        for column, dtype in self.schema.items():
            check_name(column, owner=me, field="schema")
            if column in RESERVED_COLUMNS:
                raise fail(me, "schema", f"{column!r} is a column of the feature store itself; name it otherwise")
            if not isinstance(dtype, DType):
                raise fail(me, "schema", f"[{column!r}] must be a DType, such as DType.FLOAT64, got {dtype!r}")
        check_text(self.description, owner=me, field="description")


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """What a function must make of one row, exactly: `GoldenRow({"amount": 3.0}, {"is_small": True})`.

    inputs: every input by its bare name, None for null. outputs: every feature, None for null; NaN equals NaN.
    """

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, freeze_mapping(getattr(self, name), owner="GoldenRow", field=name))


@dataclass(frozen=True, kw_only=True, slots=True)
class OnDemandFeatureView:
    """Features that a function computes of other features and of the request; `on_demand` makes one.

    inputs: `view:feature` or `view@version:feature`, of views that are stored, and request sources. The function sees
        each under its bare name, in this order.
    features: what the function returns. They carry no `expect`: golden rows take its place.
    mode: "pandas": a DataFrame in and out, every column of an Arrow-backed dtype (`pandas.ArrowDtype`); "arrow": a
        RecordBatch in, a RecordBatch or Table out.
    golden: rows with their answers, which `plan` and `apply` check.

    Calling the view calls its function.
    """

    name: str
    inputs: Sequence[str | RequestSource]
    features: Sequence[Feature]
    mode: str
    function: Callable[[Any], Any]
    golden: Sequence[GoldenRow] = ()
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    _tree: "str | DefinitionError" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        me = f"on-demand feature view {self.name!r}"
        check_name(self.name, owner=me)
        object.__setattr__(self, "features", freeze_items(self.features, Feature, owner=me, field="returns"))
        object.__setattr__(
            self, "golden", freeze_items(self.golden, GoldenRow, owner=me, field="golden", required=False)
        )
        object.__setattr__(self, "inputs", _check_inputs(self.inputs, me))
        check_unique([*self.input_names, *(f.name for f in self.features)], owner=me, field="inputs and returns")
        for feature in self.features:
            if feature.expectations:
                raise fail(me, "returns", f"{feature.name!r} has expect, but no gate judges it: give golden rows")
        check_choice(self.mode, MODES, owner=me, field="mode")
        object.__setattr__(self, "_tree", _read_tree(_check_function(self.function, me)))
        self._check_golden(me)
        check_text(self.description, owner=me, field="description")
        check_text(self.owner, owner=me, field="owner")
        object.__setattr__(self, "tags", check_tags(self.tags, owner=me))

    def __call__(self, batch: Any) -> Any:
        """What the function makes of a batch, unchecked."""
        return self.function(batch)

    @property
    def references(self) -> tuple[Reference, ...]:
        """The stored features that it reads."""
        return tuple(parse_reference(item) for item in self.inputs if isinstance(item, str))

    @property
    def request_sources(self) -> tuple[RequestSource, ...]:
        """The request sources that it reads."""
        return tuple(item for item in self.inputs if isinstance(item, RequestSource))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The columns that the function is given, in order."""
        names: list[str] = []
        for item in self.inputs:
            names += item.schema if isinstance(item, RequestSource) else [parse_reference(item).feature or ""]
        return tuple(names)

    @property
    def tree(self) -> str:
        """The function's syntax tree, as it was when it was imported: files that are replaced later do not count.

        Raises: DefinitionError: its source cannot be had, as in a prompt.
        """
        if isinstance(self._tree, DefinitionError):
            raise self._tree
        return self._tree

    def _check_golden(self, me: str) -> None:
        wanted = {"inputs": set(self.input_names), "outputs": {f.name for f in self.features}}
        for number, row in enumerate(self.golden):
            for part, names in wanted.items():
                given = set(getattr(row, part))
                for name in sorted(names - given):
                    raise fail(me, f"golden[{number}]", f"lacks {name!r} in its {part}; write None for null")
                for name in sorted(given - names):
                    raise fail(me, f"golden[{number}]", f"has {name!r} in its {part}, which is none of them")


def on_demand(
    *,
    inputs: Sequence[str | RequestSource],
    returns: Sequence[Feature],
    mode: str = "pandas",
    golden: Sequence[GoldenRow] = (),
    name: str | None = None,
    description: str | None = None,
    owner: str = "",
    tags: Mapping[str, str] | None = None,
) -> Callable[[Callable[[Any], Any]], OnDemandFeatureView]:
    """A decorator that makes an on-demand feature view of a function of one batch; see `OnDemandFeatureView`.

    Args:
        inputs: references of stored features, and request sources.
        returns: the features that the function returns.
        mode: "pandas" or "arrow": what a batch is.
        golden: rows with their answers.
        name: None: the function's.
        description: None: the first line of the function's docstring.
        owner, tags: who answers for it, and labels.

    Raises: DefinitionError: an argument is not valid; the message names it.
    """

    def decorate(function: Callable[[Any], Any]) -> OnDemandFeatureView:
        about = (inspect.getdoc(function) or "").partition("\n")[0] if description is None else description
        return OnDemandFeatureView(
            name=getattr(function, "__name__", "?") if name is None else name,
            inputs=inputs,
            features=returns,
            mode=mode,
            function=function,
            golden=golden,
            description=about,
            owner=owner,
            tags={} if tags is None else tags,
        )

    return decorate


def _check_inputs(value: Any, me: str) -> tuple[str | RequestSource, ...]:
    if isinstance(value, str | RequestSource):
        raise fail(me, "inputs", "must be a list of references and request sources")
    items: tuple[str | RequestSource, ...] = freeze_items(value, object, owner=me, field="inputs")
    for item in items:
        if isinstance(item, RequestSource):
            continue
        if not isinstance(item, str):
            raise fail(
                me, "inputs", f"must hold references and request sources, got {type(item).__name__} {item!r:.60}"
            )
        try:
            reference = parse_reference(item)
        except DefinitionError as exc:
            raise fail(me, "inputs", str(exc)) from exc
        if reference.feature is None:
            raise fail(me, "inputs", f"{item!r} is a whole view; name the features that the function reads")
    return items


def _check_function(function: Any, me: str) -> FunctionType:
    if not isinstance(function, FunctionType):
        raise fail(me, "function", f"must be a function, got {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise fail(me, "function", "must be a plain function: no `async`, no `yield`")
    try:
        inspect.signature(function).bind(None)
    except TypeError as exc:
        raise fail(me, "function", f"must take one argument, the batch: {exc}") from exc
    return function


def _read_tree(function: FunctionType) -> "str | DefinitionError":
    try:
        return syntax_tree(function)
    except DefinitionError as exc:
        # In a notebook a function can be tried all the same; it is `apply` that needs its source.
        return exc
