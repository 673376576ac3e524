"""`features test VIEW`: one view on a sample, without any server, and without a trace."""

from argparse import Namespace, _SubParsersAction
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store, split_pair
from features.cli.rendering import table, to_plain
from features.cli.running import Answer
from features.core.on_demand import RequestSource
from features.core.references import parse_reference
from features.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from features.core.dtypes import DType
    from features.core.on_demand import OnDemandFeatureView
    from features.materialization.view_test import ViewTest
    from features.store import FeatureStore


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds test."""
    about = (
        "Try one view: build two intervals together and apart, compare, load into memory and read back; of one that is "
        "on demand, compute its golden rows. Nothing is applied, and no server is needed."
    )
    example = "features test carrier_delay --source flights=sample.parquet"
    parser = add_verb(verbs, "test", test, about=about, example=example)
    parser.add_argument("view", metavar="VIEW", help="a view's name, as the code defines it")
    parser.add_argument("--source", action="append", default=[], metavar="NAME=PATH",
                        help="read a source of it, or of what it reads, from there; may be repeated")  # fmt: skip
    parser.add_argument("--start", metavar="TIME", help="of two intervals (default: the first with rows in the source)")
    parser.add_argument("--end", metavar="TIME", help="not included")


def test(args: Namespace) -> Answer:
    """Try one view of the code."""
    from tempfile import TemporaryDirectory

    from features.core.times import parse_instant
    from features.materialization.trial_sources import replace_sources
    from features.materialization.view_test import try_view

    paths = dict(split_pair(pair, option="--source") for pair in args.source)
    if (args.start is None) != (args.end is None):
        raise UsageError("give both --start and --end, or neither")
    span = None
    if args.start is not None:
        span = parse_instant(args.start, name="start"), parse_instant(args.end, name="end")
    with open_store(args) as store, TemporaryDirectory(prefix="features-test-") as folder:
        _check_name(args.view, store)
        if args.view in store.definitions.on_demand:
            if paths or span is not None:
                raise UsageError(f"{args.view} is on demand and reads no source; leave out --source, --start and --end")
            return _test_on_demand(store.definitions.on_demand[args.view], store)
        definitions = store.definitions
        *upstreams, view = replace_sources(definitions.view(args.view), paths, definitions.views)
        connections = store.settings.connections
        found = try_view(
            view, spark=store.spark, folder=folder, span=span, upstreams=upstreams, connections=connections
        )
    return Answer(text=_tell(found), data=to_plain(found))


def _check_name(name: str, store: "FeatureStore") -> None:
    known = {**store.definitions.views, **store.definitions.on_demand}
    if name not in known:
        raise NotFoundError.of("feature view", name, known, hint="the views package defines none")


def _test_on_demand(view: "OnDemandFeatureView", store: "FeatureStore") -> Answer:
    """Golden rows, as `plan` and `apply` check them. Raises: DefinitionError: the function fails them."""
    from features.core.golden import check_golden

    check_golden(view, _input_types(view, store))
    if view.golden:
        tried = f"golden rows: {len(view.golden)}, and one of nulls, each alone and all together: the same answers"
    else:
        tried = "golden rows: none, so a row of nulls was all that was tried; add golden=[GoldenRow(...)]"
    return Answer(
        text=f"{view.name}: passed\n\non demand: no intervals, no source\n\n{tried}",
        data={"view": view.name, "kind": "on demand", "golden_rows": len(view.golden)},
    )


def _input_types(view: "OnDemandFeatureView", store: "FeatureStore") -> "dict[str, DType]":
    """The function's inputs and their types, in order; of a version that it names, the registry knows them."""
    types: dict[str, DType] = {}
    for item in view.inputs:
        if isinstance(item, RequestSource):
            types.update(item.schema)
            continue
        read = parse_reference(item)
        stored = f"{read.name}@{read.version}"
        known = store.definitions.view(read.name) if read.version is None else store.registry.view(stored)
        dtypes = {feature.name: feature.dtype for feature in known.features}
        if read.feature not in dtypes:
            raise NotFoundError.of(f"feature in {stored}", str(read.feature), dtypes)
        types[read.feature] = dtypes[read.feature]
    return types


def _tell(found: "ViewTest") -> str:
    parts = [
        f"{found.view}: passed",
        table(["interval", "rows"], [[str(interval), rows] for interval, rows in found.rows_by_interval]),
    ]
    if found.compared:
        parts.append("built together and apart: the same rows")
    else:
        parts.append("one interval: nothing to compare with")
    parts.append(f"quarantined: {found.quarantined} rows")
    parts.append(table(["gate", "rule", "severity", "failing", "rows"], [
        [r["column"], r["rule"], r["severity"], r["failing"], r["rows"]] for r in found.gate
    ]))  # fmt: skip
    parts.append(f"online: {found.keys_read} keys loaded, read back, and equal to the as-of value")
    if found.sample:
        parts.append(table(list(found.sample[0]), [list(row.values()) for row in found.sample]))
    return "\n\n".join(parts)
