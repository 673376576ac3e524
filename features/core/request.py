"""A request for features, compiled: what is read, what is computed of it, and how the answer's columns are named.

Serving and training compile alike, so that both read and compute the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from features.core.applied import RequestedFeature, Selection, name_columns, select_by_view
from features.core.applied_on_demand import AppliedOnDemandView, DerivedFeature, Requested
from features.core.dtypes import DType
from features.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Computed:
    """What a request asks of one on-demand view.

    inputs: the name under which the function sees a column, and the column: one of a selection, or of the request.
    columns: the features asked for, and beside each the name of its column in the answer.
    """

    view: AppliedOnDemandView
    inputs: Mapping[str, str]
    columns: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class CompiledRequest:
    """What a `features` argument stands for.

    selections: what is read, by view: stored features that are asked for, and those that only a function reads.
    computed: what is computed of it, by on-demand view.
    types: the answer's columns and their types, in the order asked.
    join_keys: all join keys of all views, in the order in which they first occur, and their types.
    request_columns: what entity rows, or the spine, hold beside them for functions, and the types; some may be join
        keys too.
    """

    selections: tuple[Selection, ...]
    computed: tuple[Computed, ...]
    types: Mapping[str, DType]
    join_keys: Mapping[str, DType]
    request_columns: Mapping[str, DType]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The answer's columns, in the order asked."""
        return tuple(self.types)

    @cached_property
    def column_views(self) -> Mapping[str, str]:
        """The answer's columns, and the view of each by name: what it is read from, or computed by."""
        views = {column: s.view.name for s in self.selections for column in s.columns}
        views |= {column: computed.view.name for computed in self.computed for column in computed.columns.values()}
        return {column: views[column] for column in self.types}

    @cached_property
    def read_columns(self) -> tuple[str, ...]:
        """The columns of all selections, hidden ones too."""
        return tuple(column for selection in self.selections for column in selection.columns)

    @cached_property
    def given_columns(self) -> Mapping[str, DType]:
        """All that the request has to bring: join keys and request columns."""
        return {**self.join_keys, **self.request_columns}

    @cached_property
    def answer_types(self) -> Mapping[str, DType]:
        """The types of all columns of an online answer: what the request brought, then `types`."""
        return {**self.given_columns, **self.types}


def compile_request(requested: Sequence[Requested], *, full_feature_names: bool = False) -> CompiledRequest:
    """What has to be read and computed for features, with a name for each column.

    Args:
        requested: what the registry resolved.
        full_feature_names: name columns `view__feature` instead of by the bare feature.

    Raises: UsageError: two columns would have one name, or two views want a request column of different types.
    """
    columns = name_columns(requested, full_feature_names=full_feature_names)
    views = _on_demand_views(requested)
    request_columns = _request_columns(views)
    _check_names(requested, columns, request_columns)
    reads = {
        (item.view.reference, item.feature.name): (item, column)
        for item, column in zip(requested, columns, strict=True)
        if isinstance(item, RequestedFeature)
    }
    for hidden in (item for view in views for item in view.stored_inputs):
        # No name of a definition begins with _, so none is met.
        name = f"_{hidden.view.online_table}__{hidden.feature.name}"
        reads.setdefault((hidden.view.reference, hidden.feature.name), (hidden, name))
    read_columns = {key: column for key, (_, column) in reads.items()}
    return CompiledRequest(
        selections=select_by_view([item for item, _ in reads.values()], list(read_columns.values())),
        computed=tuple(_computed(view, requested, columns, read_columns) for view in views),
        types={column: item.feature.dtype for column, item in zip(columns, requested, strict=True)},
        join_keys=_join_keys(requested, request_columns),
        request_columns=request_columns,
    )


def _on_demand_views(requested: Sequence[Requested]) -> tuple[AppliedOnDemandView, ...]:
    views = {item.view.reference: item.view for item in requested if isinstance(item, DerivedFeature)}
    return tuple(views.values())


def _computed(
    view: AppliedOnDemandView,
    requested: Sequence[Requested],
    columns: Sequence[str],
    read_columns: Mapping[tuple[str, str], str],
) -> Computed:
    stored = {item.feature.name: read_columns[item.view.reference, item.feature.name] for item in view.stored_inputs}
    return Computed(
        view=view,
        inputs={name: stored.get(name, name) for name in view.input_types},
        columns={
            item.feature.name: column
            for item, column in zip(requested, columns, strict=True)
            if item.view.reference == view.reference
        },
    )


def _request_columns(views: Sequence[AppliedOnDemandView]) -> dict[str, DType]:
    found: dict[str, DType] = {}
    for view in views:
        for name, dtype in view.request_columns.items():
            if found.setdefault(name, dtype) != dtype:
                raise UsageError(
                    f"{view.reference} reads {name!r} of the request as {dtype}, another view as {found[name]}; ask "
                    "for them apart, or give them one RequestSource"
                )
    return found


def _join_keys(requested: Sequence[Requested], request_columns: Mapping[str, DType]) -> dict[str, DType]:
    found: dict[str, DType] = {}
    owners: dict[str, str] = {}
    for item in requested:
        for key, dtype in item.view.join_keys.items():
            owner = owners.setdefault(key, item.view.reference)
            if found.setdefault(key, dtype) != dtype:
                raise UsageError(
                    f"join key {key!r} is {found[key]} in {owner} and {dtype} in {item.view.reference}; ask for them "
                    "apart"
                )
            other = request_columns.get(key, dtype)
            if other != dtype:
                raise UsageError(f"{key!r} is a join key, {dtype}, and a request column, {other}; rename one")
    return found


def _check_names(requested: Sequence[Requested], columns: Sequence[str], request_columns: Mapping[str, DType]) -> None:
    for item, column in zip(requested, columns, strict=True):
        if column in request_columns:
            raise UsageError(
                f"feature {item.view.name}:{item.feature.name} has the name of a request column; pass "
                "full_feature_names=True"
            )
