"""`features status`: how far each view is built and loaded, and what its last run said; which are on demand."""

from argparse import Namespace, _SubParsersAction
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store
from features.cli.rendering import fields, table, to_plain
from features.cli.running import Answer

if TYPE_CHECKING:
    from datetime import datetime

    from features.core.applied import AppliedView
    from features.core.applied_on_demand import AppliedOnDemandView
    from features.core.schedule import Interval
    from features.registry import LedgerEntry, Registry

_SHOWN_HOLES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewStatus:
    """What is known of one view version.

    built, empty: intervals by what their last build found. refused, failed: intervals whose last run was so.
    stale: built, but from something that has changed since. holes: intervals between first and last without a build.
    position: of the log's last commit. loaded: the position that is online, verified.
    """

    view: str
    schedule: str | None
    built: int
    empty: int
    refused: int
    failed: int
    stale: int
    holes: "tuple[Interval, ...]"
    first: "datetime | None"
    last: "datetime | None"
    position: int
    loaded: int
    last_run: str
    last_run_at: "datetime | None"
    message: str


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
    about = "Show, for each view, what is built, missing, stale and loaded, and its last run; and on-demand views."
    parser = add_verb(verbs, "status", status, about=about, example="features status carrier_delay")
    parser.add_argument("view", nargs="?", metavar="VIEW", help="a view's name, or name@version (default: all)")


def status(args: Namespace) -> Answer:
    """The status of one view, or of all."""
    with open_store(args) as store:
        registry, target = store.registry, store.online.target
        views, on_demand = _choose(registry, args.view)
        found = [inspect_view(registry, view, target) for view in views]
        computed = [inspect_on_demand(view) for view in on_demand]
    data = to_plain({"views": found, "on_demand": computed})
    if args.view is not None:
        return Answer(text=_tell_one(found[0]) if found else _tell_on_demand(computed[0]), data=data)
    if not found and not computed:
        return Answer(text="no view is registered; run `features apply`", data=data)
    return Answer(text=_tell_all(found, computed), data=data)


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


def inspect_view(registry: "Registry", view: "AppliedView", target: str) -> ViewStatus:
    """What the registry knows of a view version. target: names the online store."""
    entries = registry.ledger(view)
    built = [entry for entry in entries if entry.built]
    statuses = Counter(entry.status for entry in entries)
    runs = registry.runs(view, limit=1)
    last = runs[0] if runs else None
    return ViewStatus(
        view=view.reference,
        schedule=view.schedule,
        built=statuses["built"],
        empty=statuses["empty"],
        refused=statuses["refused"],
        failed=statuses["failed"],
        stale=sum(entry.stale for entry in entries),
        holes=tuple(find_holes(view.schedule, built)),
        first=built[0].interval.start if built else None,
        last=built[-1].interval.end if built else None,
        position=max((commit.position for commit in registry.commits(view)), default=0),
        loaded=registry.checkpoint(view, target=target),
        last_run=f"{last.kind} {last.status}" if last else "none",
        last_run_at=last.started_at if last else None,
        message=last.message if last else "",
    )


def find_holes(schedule: str | None, built: "Sequence[LedgerEntry]") -> "list[Interval]":
    """The intervals of the schedule between the first and the last that was built that no run has built.

    Without a schedule ranges lie where they were asked for, so there are none.
    """
    from features.core.schedule import iterate_intervals

    if schedule is None or not built:
        return []
    known = {entry.interval for entry in built}
    return [i for i in iterate_intervals(schedule, built[0].interval.start, built[-1].interval.end) if i not in known]


def _tell_all(found: Sequence[ViewStatus], computed: Sequence[OnDemandStatus]) -> str:
    headers = ("view", "schedule", "built", "empty", "refused", "failed", "stale", "holes", "first", "last", "log",
               "loaded", "last run")  # fmt: skip
    rows = [
        [v.view, v.schedule, v.built, v.empty, v.refused, v.failed, v.stale, len(v.holes), v.first, v.last, v.position,
         v.loaded, v.last_run] for v in found
    ]  # fmt: skip
    rows += [[view.view, view.schedule, *[""] * (len(headers) - 2)] for view in computed]
    notes = [f"{v.view}: {v.message}" for v in found if v.message]
    return "\n".join([table(headers, rows), *notes])


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


def _tell_one(view: ViewStatus) -> str:
    holes = [str(hole) for hole in view.holes[:_SHOWN_HOLES]]
    if len(view.holes) > _SHOWN_HOLES:
        holes.append(f"and {len(view.holes) - _SHOWN_HOLES} more")
    return fields(
        {
            "view": view.view,
            "schedule": view.schedule,
            "intervals": f"{view.built} built, {view.empty} empty, {view.refused} refused, {view.failed} failed, "
            f"{view.stale} stale",
            "holes": ", ".join(holes) or "none",
            "first": view.first,
            "last": view.last,
            "log position": view.position,
            "loaded up to": view.loaded,
            "last run": view.last_run,
            "started at": view.last_run_at,
            **({"message": view.message} if view.message else {}),
        }
    )
