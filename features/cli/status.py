"""`features status`: which intervals of each view are built, missing or refused, what is loaded, and its last run."""

import sys
from argparse import Namespace, _SubParsersAction
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store
from features.cli.rendering import fields, table, to_plain
from features.cli.running import Answer
from features.cli.strip import Style, day_line, legend, month_rows
from features.core.schedule import Interval, join
from features.core.times import format_instant, parse_instant
from features.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from features.config import AirflowSettings
    from features.core.applied import AppliedView
    from features.core.applied_on_demand import AppliedOnDemandView
    from features.materialization.coverage import Bounds, IntervalState
    from features.registry import Registry

_SHOWN_HOLES = 5
_SHOWN_MONTHS = 24
_SHOWN_INTERVALS = 366


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewStatus:
    """What is known of one view version.

    built, empty: intervals by what their last build found. refused, failed: intervals whose last run was so.
    stale: built, but from something that has changed since. missing: due, and no run has judged them. holes: without a
    build: these, and those that only ever failed or were refused. first, last: bounds of what was built.
    position: of the log's last commit. loaded: the position that is online, verified.
    covered: all intervals that were judged or are due, of which the counts are.
    """

    view: str
    schedule: str | None
    built: int
    empty: int
    refused: int
    failed: int
    stale: int
    missing: int
    holes: tuple[Interval, ...]
    first: "datetime | None"
    last: "datetime | None"
    position: int
    loaded: int
    last_run: str
    last_run_at: "datetime | None"
    message: str
    covered: "tuple[IntervalState, ...]" = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class OnDemandStatus:
    """What is known of one on-demand view version: it has no intervals, and is computed when it is asked for.

    inputs: stored features, as `view@version:feature`, and columns of the request, by name.
    """

    view: str
    inputs: tuple[str, ...]
    features: tuple[str, ...]
    schedule: str = "on demand"


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds status."""
    about = (
        "Show, for each view, which intervals are built, missing, refused or stale, what is loaded, and its last run."
    )
    example = "features status carrier_delay --start 2013-03-01T00:00:00Z --end 2013-04-01T00:00:00Z"
    parser = add_verb(verbs, "status", status, about=about, example=example)
    parser.add_argument("view", nargs="?", metavar="VIEW", help="a view's name, or name@version (default: all)")
    parser.add_argument("--start", metavar="TIME", help="list the intervals of VIEW from then on")
    parser.add_argument("--end", metavar="TIME", help="and before then")


def status(args: Namespace) -> Answer:
    """The status of one view, or of all."""
    if args.view is None and (args.start or args.end):
        raise UsageError(
            "--start and --end narrow the intervals of one view; name it: features status VIEW --start ..."
        )
    start, end = (
        None if t is None else parse_instant(t, name=n) for n, t in (("start", args.start), ("end", args.end))
    )
    if start is not None and end is not None and end <= start:
        raise UsageError(f"--end {format_instant(end)} is not after --start {format_instant(start)}; swap them")
    with open_store(args) as store:
        registry, target, airflow = store.registry, store.online.target, store.settings.airflow
        views, on_demand = _choose(registry, args.view)
        now = datetime.now(UTC)
        found = [
            inspect_view(registry, v, target, now=now, bounds=_bounds(registry, v, airflow), start=start, end=end)
            for v in views
        ]
        computed = [inspect_on_demand(view) for view in on_demand]
    told = {"views": [_without_intervals(view) for view in found], "on_demand": [to_plain(view) for view in computed]}
    # The command's stdout is that of the process: while it works, what is printed goes to stderr.
    style = Style.of(sys.__stdout__)
    if args.view is not None:
        if not found:
            return Answer(text=_tell_on_demand(computed[0]), data=told)
        data = {**told, "intervals": [to_plain(item) for item in found[0].covered]}
        narrowed = start is not None or end is not None
        return Answer(text=_tell_one(found[0], style, listed=narrowed), data=data)
    if not found and not computed:
        return Answer(text="no view is registered; run `features apply`", data=told)
    return Answer(text=_tell_all(found, computed, style), data=told)


def _choose(
    registry: "Registry", reference: str | None
) -> "tuple[Sequence[AppliedView], Sequence[AppliedOnDemandView]]":
    """All views, or the one that is named. Raises: NotFoundError, UsageError."""
    if reference is None:
        return registry.views(), registry.on_demand_views()
    if reference.partition("@")[0] in {view.name for view in registry.on_demand_views()}:
        return (), (registry.on_demand_view(reference),)
    return (registry.view(reference),), ()


def inspect_on_demand(view: "AppliedOnDemandView") -> OnDemandStatus:
    """What the registry knows of an on-demand view version."""
    read = (f"{item.view.reference}:{item.feature.name}" for item in view.stored_inputs)
    return OnDemandStatus(
        view=view.reference,
        inputs=(*read, *view.request_columns),
        features=tuple(feature.name for feature in view.features),
    )


def inspect_view(
    registry: "Registry",
    view: "AppliedView",
    target: str,
    *,
    now: datetime,
    bounds: "Bounds | None" = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ViewStatus:
    """What the registry knows of a view version.

    Args:
        target: names the online store.
        now, bounds, start, end: as of `cover_view`.
    """
    from features.materialization.coverage import cover_view, find_holes

    covered = cover_view(registry, view, now=now, bounds=bounds, start=start, end=end)
    built = [item for item in covered if item.built]
    statuses = Counter(item.status for item in covered)
    runs = registry.runs(view, limit=1)
    last = runs[0] if runs else None
    return ViewStatus(
        view=view.reference,
        schedule=view.schedule,
        built=statuses["built"],
        empty=statuses["empty"],
        refused=statuses["refused"],
        failed=statuses["failed"],
        stale=sum(item.stale for item in covered),
        missing=statuses["missing"],
        holes=find_holes(covered),
        first=built[0].start if built else None,
        last=built[-1].end if built else None,
        position=max((commit.position for commit in registry.commits(view)), default=0),
        loaded=registry.checkpoint(view, target=target),
        last_run=f"{last.kind} {last.status}" if last else "none",
        last_run_at=last.started_at if last else None,
        message=last.message if last else "",
        covered=covered,
    )


def _bounds(registry: "Registry", view: "AppliedView", airflow: "AirflowSettings") -> "Bounds | None":
    """What Airflow runs of a view version; None: it is not the current one, and nothing runs it."""
    from features.materialization.coverage import Bounds

    try:
        current = registry.view(view.name).version
    except NotFoundError:  # no longer in code
        return None
    return Bounds(start=airflow.start, end=airflow.end) if current == view.version else None


def _without_intervals(view: ViewStatus) -> dict[str, object]:
    plain: dict[str, object] = to_plain(view)
    del plain["covered"]
    return plain


def _tell_all(found: Sequence[ViewStatus], computed: Sequence[OnDemandStatus], style: Style) -> str:
    headers = ("view", "schedule", "built", "empty", "refused", "failed", "stale", "holes", "first", "last", "log",
               "loaded", "last run")  # fmt: skip
    rows = [
        [v.view, v.schedule, v.built, v.empty, v.refused, v.failed, v.stale, len(v.holes), v.first, v.last, v.position,
         v.loaded, v.last_run] for v in found
    ]  # fmt: skip
    rows += [[view.view, view.schedule, *[""] * (len(headers) - 2)] for view in computed]
    lines = [table(headers, rows)]
    drawn = [view for view in found if view.covered]
    if drawn:
        width = max(len(view.view) for view in drawn) + 2
        lines += ["", *(f"{v.view:<{width}}{day_line(v.covered, style, indent=width)}" for v in drawn)]
        lines += ["", f"a day each, up to the latest: {legend(style)}"]
    lines += [f"{v.view}: {v.message}" for v in found if v.message]
    return "\n".join(lines)


def _tell_on_demand(view: OnDemandStatus) -> str:
    return fields(
        {
            "view": view.view,
            "schedule": view.schedule,
            "intervals": "none: it is computed when it is asked for",
            "inputs": ", ".join(view.inputs),
            "features": ", ".join(view.features),
        }
    )


def _tell_one(view: ViewStatus, style: Style, *, listed: bool) -> str:
    ranges = join(view.holes)
    holes = [str(hole) for hole in ranges[:_SHOWN_HOLES]]
    if len(ranges) > _SHOWN_HOLES:
        holes.append(f"and {len(ranges) - _SHOWN_HOLES} more")
    about = fields(
        {
            "view": view.view,
            "schedule": view.schedule,
            "intervals": f"{view.built} built, {view.empty} empty, {view.refused} refused, {view.failed} failed, "
            f"{view.stale} stale, {view.missing} missing",
            "holes": "\n".join((f"{len(view.holes)} intervals", *(f"  {hole}" for hole in holes))) if holes else "none",
            "first": view.first,
            "last": view.last,
            "log position": view.position,
            "loaded up to": view.loaded,
            "last run": view.last_run,
            "started at": view.last_run_at,
            **({"message": view.message} if view.message else {}),
            **({"to do": todo} if (todo := _to_do(view)) else {}),
        }
    )
    lines = [about]
    rows = month_rows(view.covered, style, months=None if listed else _SHOWN_MONTHS)
    if rows and view.schedule is not None:
        lines += ["", *rows, "", legend(style)]
    if listed or view.schedule is None:
        lines += ["", _list_intervals(view.covered)]
    return "\n".join(lines)


def _to_do(view: ViewStatus) -> str:
    """The command that makes the intervals whole."""
    open_ends = [item for item in view.covered if not item.built or item.state not in ("built", "empty")]
    if not open_ends:
        return ""
    span = f"--start {format_instant(open_ends[0].start)} --end {format_instant(open_ends[-1].end)}"
    return f"features backfill {view.view.partition('@')[0]} {span}"


def _list_intervals(covered: "Sequence[IntervalState]") -> str:
    headers = ("start", "end", "state", "appended", "log", "Delta version", "run", "at")
    shown = covered[-_SHOWN_INTERVALS:]
    rows = [[i.start, i.end, i.state, i.rows, i.position, i.delta_version, i.run_id, i.updated_at] for i in shown]
    left = len(covered) - len(shown)
    return (f"the latest {len(shown)}; {left} before them: narrow the range\n" if left else "") + table(headers, rows)
