"""What follows from a change of definitions: tables, backfills and what they cost, and who notices."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from features.core.canonical import applied_view
from features.core.references import parse_reference
from features.core.schedule import iterate_intervals, previous_tick
from features.core.times import format_instant
from features.core.upstreams import reads_of
from features.registry.costs import fit, read_samples
from features.registry.plan import BackfillOffer, Change
from features.registry.schema import consumers, manifests
from features.registry.state import ON_DEMAND, SERVICE, VIEW, State, Stored, StoredVersion, Wanted

_SHOWN = 5


def after_new_version(want: Wanted, stored: Stored, version: int) -> tuple[str, ...]:
    """What a new version brings, and what remains to be done for it."""
    old = stored.versions[stored.current]
    if want.kind == ON_DEMAND and old.content["function"] != want.content["function"]:
        return ("servers and jobs compute it once they have this code; with any other they refuse to",)
    if want.kind != VIEW:
        return ()
    made = applied_view(want.content, want.metadata, version=version)
    tables = f"new tables are made: {made.log_path} offline, {made.online_table} online; version {old.version}'s stay"
    return (tables, *_backfill(want, stored, None), *_promotion(want.name, stored, version))


def after_restore(want: Wanted, stored: Stored, known: StoredVersion) -> tuple[str, ...]:
    """What is there of a version that becomes current again, and what remains to be done for it."""
    if want.kind != VIEW:
        return ()
    built = f"built over {known.built}" if known.built else "never built"
    tables = f"its tables are kept from before, {built}"
    return (tables, *_backfill(want, stored, known), *_promotion(want.name, stored, known.version))


def offer_backfill(want: Wanted, stored: Stored, known: StoredVersion | None) -> BackfillOffer | None:
    """The range that a version lacks of what the current one holds, in whole intervals of its own schedule.

    Args:
        known: the version, where it was there before.
    """
    old = stored.versions[stored.current]
    if want.kind != VIEW or old.built is None:
        return None
    start, end, schedule = old.built.start, old.built.end, want.content["schedule"]
    if schedule is not None:
        # Not beyond the end: what lies there may not be complete.
        start, end = previous_tick(schedule, start), previous_tick(schedule, end)
    covered = known is not None and known.built is not None and known.built.start <= start and end <= known.built.end
    if covered or end <= start:
        return None
    count = 1 if schedule is None else sum(1 for _ in iterate_intervals(schedule, start, end))
    return BackfillOffer(view=want.name, of=old.version, start=start, end=end, intervals=count)


def foresee(connection: Connection, change: Change, state: State) -> Change:
    """The change with what its backfill costs, and who notices it."""
    stored = state.get((change.object, change.name))
    if stored is None or change.object != VIEW or change.kind == "update in place":
        return change
    old = stored.versions[stored.current]
    offer = change.backfill
    if offer is not None:
        schedule = old.content["schedule"]
        pace = fit(read_samples(connection, view=change.name, version=old.version, schedule=schedule))
        if pace is not None:
            offer = replace(
                offer,
                seconds=round(pace.seconds(offer.intervals, runs=1), 1),
                rows=round(pace.rows_per_interval * offer.intervals),
            )
    noticed = (
        *_services(change, state),
        *_held_sets(connection, change.name),
        *_readers(connection, change.name),
        *_dag(change, stored),
    )
    return replace(change, backfill=offer, consumers=noticed)


def _services(change: Change, state: State) -> Iterator[str]:
    follow, pinned = [], []
    for (kind, name), stored in sorted(state.items()):
        if kind != SERVICE or stored.removed_at is not None:
            continue
        references = [parse_reference(text) for text in stored.versions[stored.current].content["features"]]
        versions = {reference.version for reference in references if reference.name == change.name}
        follow += [name] if None in versions else []
        pinned += [f"{name} (version {v})" for v in sorted(v for v in versions if v is not None)]
    if follow and change.kind != "remove":
        yield f"services: {_list(follow)}; training sets read version {change.version} of it from apply on"
    if pinned:
        yield f"services that pin a version stay on it: {_list(pinned)}"


def _held_sets(connection: Connection, view: str) -> Iterator[str]:
    by_version: dict[str, list[str]] = {}
    held = select(manifests.c.name, manifests.c.number, manifests.c.content).where(manifests.c.held)
    for row in connection.execute(held.order_by(manifests.c.name, manifests.c.number)):
        for pinned in row.content.get("views", ()):
            if pinned["view"].partition("@")[0] == view:
                by_version.setdefault(pinned["view"], []).append(f"{row.name}@{row.number}")
    for reference, names in sorted(by_version.items()):
        yield f"held training sets rebuild from {reference}, whose log stays: {_list(names)}"


def _readers(connection: Connection, view: str) -> Iterator[str]:
    found = connection.execute(
        select(consumers).where(consumers.c.view == view).order_by(consumers.c.last_read_at.desc())
    )
    told = [f"{r.consumer} (version {r.version}, last at {format_instant(r.last_read_at)})" for r in found]
    if told:
        yield f"read online by: {_list(told)}"


def _dag(change: Change, stored: Stored) -> Iterator[str]:
    old = stored.versions[stored.current]
    if change.kind == "remove":
        if old.content["schedule"] is not None:
            yield f"DAG {change.name} goes: no interval of it is built any more"
    elif stored.removed_at is None and old.version != change.version:
        yield f"DAG {change.name} builds version {change.version} from now on, and version {old.version} no more"


def _promotion(name: str, stored: Stored, version: int) -> tuple[str, ...]:
    """What brings a version online that is not: apply does not."""
    if stored.serving in (None, version):
        return ()
    promote = f"features promote {name}@{version}"
    return (f"serving stays on version {stored.serving}; once version {version} is loaded: {promote}",)


def _backfill(want: Wanted, stored: Stored, known: StoredVersion | None) -> tuple[str, ...]:
    offer = offer_backfill(want, stored, known)
    if offer is None:
        return ()
    old = stored.versions[stored.current]
    read = ", ".join(str(reference) for _, reference in reads_of(want.content))
    before = (f"it reads {read}: build that over the same range first",) if read else ()
    return (f"version {old.version} was built over {old.built}; for the same range: {offer.command}", *before)


def _list(names: Sequence[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
