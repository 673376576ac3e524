"""`features build`, `load`, `compact`, `materialize` and `backfill`: the batch path, in this process."""

import logging
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.cli.options import (
    Parser,
    add_load_options,
    add_range,
    add_upstreams,
    add_verb,
    open_store,
    parse_upstreams,
)
from features.cli.rendering import table, to_plain
from features.cli.running import Answer, explain

if TYPE_CHECKING:
    from features.materialization.backfill import BackfillPlan
    from features.materialization.results import BuildResult, LoadPlan, LoadResult
    from features.store import FeatureStore

logger = logging.getLogger(__name__)

_RANGE = "--start 2013-03-07T00:00:00Z --end 2013-03-08T00:00:00Z"


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds build, load, compact, materialize and backfill."""
    about = "Compute whole intervals of a view into its offline log; again is fine, and appends only what changed."
    parser = add_verb(verbs, "build", build, about=about, example=f"features build carrier_delay {_RANGE}")
    _add_view(parser)
    add_range(parser)
    add_upstreams(parser)
    parser.add_argument("--now", metavar="TIME", help="when a rerun counts as started (default: the present)")

    about = "Bring the online table of a view up to its offline log."
    parser = add_verb(verbs, "load", load, about=about, example="features load carrier_delay")
    _add_view(parser)
    add_load_options(parser)

    about = "Rewrite the log of a view as few sorted files; rows, readers and pinned sets see no change."
    parser = add_verb(verbs, "compact", compact, about=about, example="features compact carrier_delay")
    _add_view(parser)

    about = "Build, then load: what a view's DAG runs."
    parser = add_verb(verbs, "materialize", materialize, about=about, example=f"features materialize weather {_RANGE}")
    _add_view(parser)
    add_range(parser)
    add_upstreams(parser)
    parser.add_argument("--reprocess", type=int, default=0, metavar="N", help="also rerun the N intervals before it")

    about = "Build the intervals of a range that are missing, stale, refused or failed; then load."
    parser = add_verb(verbs, "backfill", backfill, about=about, example=f"features backfill carrier_delay {_RANGE}")
    _add_view(parser)
    add_backfill_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="build nothing: tell what would be, and how long it takes"
    )


def add_backfill_options(parser: ArgumentParser) -> None:
    """What a backfill builds, and how."""
    add_range(parser)
    parser.add_argument("--all", action="store_true", help="build every interval of the range again")
    parser.add_argument("--no-load", action="store_true", help="leave the online table as it is")
    parser.add_argument("--parallel", type=int, metavar="N",
                        help="builds at once of intervals that are missing (default: backfill.parallel)")  # fmt: skip
    parser.add_argument("--chunk", type=int, metavar="N",
                        help="intervals of one build, at most (default: by the rows that they had so far)")  # fmt: skip


def build(args: Namespace) -> Answer:
    """Build a range."""
    with open_store(args) as store:
        versions = parse_upstreams(args.upstream)
        result = store.build(args.view, args.start, args.end, now=args.now, upstream_versions=versions)
    return Answer(text=f"{args.view}: {tell_build(result)}", data={"view": args.view, **to_plain(result)})


def load(args: Namespace) -> Answer:
    """Load what is new in the log."""
    with open_store(args) as store:
        if args.dry_run:
            plan = store.plan_load(args.view, full=args.full, path=args.path)
            return Answer(text=tell_load_plan(plan), data=to_plain(plan))
        result = store.load(args.view, full=args.full, path=args.path)
    return Answer(text=f"{args.view}: {tell_load(result)}", data={"view": args.view, **to_plain(result)})


def compact(args: Namespace) -> Answer:
    """Compact a log."""
    with open_store(args) as store:
        result = store.compact(args.view)
    text = f"{args.view}: {result.files_before} files before, {result.files_after} after"
    return Answer(text=text, data={"view": args.view, **to_plain(result)})


def materialize(args: Namespace) -> Answer:
    """Build a range, then load."""
    with open_store(args) as store:
        versions = parse_upstreams(args.upstream)
        result = store.materialize(
            args.view, args.start, args.end, reprocess=args.reprocess, upstream_versions=versions
        )
    lines = [tell_build(result.build), *(f"reprocessed: {tell_build(again)}" for again in result.reprocessed)]
    lines += [tell_load(result.load)] if result.load else []
    text = "\n".join(f"{args.view}: {line}" for line in lines)
    return Answer(text=text, data={"view": args.view, **to_plain(result)})


def backfill(args: Namespace) -> Answer:
    """Build what is missing or stale in a range; exit code 1 where some of it remains."""
    with open_store(args) as store:
        if args.dry_run:
            plan = store.plan_backfill(
                args.view, args.start, args.end, every=args.all, chunk=args.chunk, parallel=args.parallel
            )
            return Answer(text=_tell_backfill_plan(plan), data=_backfill_plan(plan))
        data, failed = run_backfill(store, args)
    text = "nothing was built" if failed and not data["builds"] else _tell_backfill(data["builds"])
    return Answer(text=f"{args.view}: {text}", data=data, exit_code=1 if failed else 0)


def run_backfill(store: "FeatureStore", args: Namespace) -> tuple[dict[str, Any], bool]:
    """What was built and what remains, as plain values; whether chunks were refused or failed."""
    from features.materialization.backfill import BackfillError

    try:
        results = store.backfill(
            args.view,
            args.start,
            args.end,
            every=args.all,
            load=not args.no_load,
            chunk=args.chunk,
            parallel=args.parallel,
        )
    except BackfillError as exc:
        failure = explain(exc)
        logger.error(failure.message)
        told = [(interval, explain(cause)) for interval, cause in exc.failures]
        failures = [{**to_plain(interval), "type": one.type, "message": one.message} for interval, one in told]
        return {
            "view": args.view,
            "builds": to_plain(exc.built),
            "failures": failures,
            "remaining": to_plain(exc.remaining),
            "error": {**to_plain(failure), "retry": any(one.retry for _, one in told)},
        }, True
    return {"view": args.view, "builds": to_plain(results), "failures": [], "remaining": []}, False


def tell_build(result: "BuildResult") -> str:
    """What a build did, in a line."""
    return (
        f"{result.status}, {result.rows} rows appended ({result.corrections} corrections, {result.retractions} "
        f"retractions), {result.quarantined} quarantined; log at Delta version {_version(result.delta_version)}"
    )


def tell_load(result: "LoadResult") -> str:
    """What a load did, in a line."""
    return f"loaded, {result.rows} keys written, {result.deleted} deleted; read {_version(result.delta_version)}"


def tell_load_plan(plan: "LoadPlan") -> str:
    """What a load would do, in lines."""
    begun = f"{plan.view}: log at position {plan.position}, loaded up to {plan.checkpoint}"
    if plan.path is None:
        return f"{begun}; nothing to load: {plan.reason}"
    return "\n".join(
        [
            begun,
            f"  {plan.rows:,} keys would be written, {plan.deleted:,} deleted",
            f"  read: at most {plan.files} files, {plan.bytes:,} bytes of values; engine: {plan.engine}",
            f"  path: {plan.path}, because {plan.reason}",
        ]
    )


def _tell_backfill(builds: "Sequence[Mapping[str, Any]]") -> str:
    if not builds:
        return "nothing to build: no interval of the range is missing or stale"
    headers = ("start", "end", "intervals", "status", "rows", "corrections", "retractions", "quarantined", "seconds")
    return f"{len(builds)} builds\n" + table(headers, [[build[name] for name in headers] for build in builds])


def _backfill_plan(plan: "BackfillPlan") -> dict[str, Any]:
    chunks = [
        {**to_plain(chunk.interval), "intervals": len(chunk.intervals), "reruns": chunk.reruns} for chunk in plan.chunks
    ]
    told = {"intervals": plan.intervals, "seconds": plan.seconds, "rows": plan.rows}
    return {"view": plan.view, "chunks": chunks, **told}


def _tell_backfill_plan(plan: "BackfillPlan") -> str:
    if not plan.chunks:
        return f"{plan.view}: nothing to build: no interval of the range is missing or stale"
    rows = [[c.interval.start, c.interval.end, len(c.intervals), "rerun" if c.reruns else "first"] for c in plan.chunks]
    cost = "no run so far tells how long they take"
    if plan.seconds is not None:
        cost = f"about {plan.seconds:.0f} s one after the other, and {plan.rows:,} rows, by the runs so far"
    listed = table(("start", "end", "intervals", "build"), rows)
    return f"{plan.view}: {plan.intervals} intervals in {len(plan.chunks)} builds; {cost}\n{listed}"


def _version(number: int | None) -> str:
    return "none" if number is None else str(number)


def _add_view(parser: Parser) -> None:
    parser.add_argument("view", metavar="VIEW", help="a view's name, or name@version")
