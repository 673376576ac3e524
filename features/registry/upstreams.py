"""Which views read which: the versions that they will read once a plan is applied, and those that do already."""

from collections.abc import Mapping, Set
from dataclasses import replace

from sqlalchemy import Connection, Text, func, select, type_coerce, update

from features.core.applied import AppliedView
from features.core.canonical import applied_view, definition_hash
from features.core.references import Reference
from features.core.schedule import Interval
from features.core.upstreams import check_upstream, order_views, pin_sources, reads_of, view_sources
from features.errors import DefinitionError, NotFoundError
from features.registry.audit import Part
from features.registry.lookups import current_versions
from features.registry.schema import commits, definition_versions, ledger, runs
from features.registry.state import VIEW, Name, State, StoredVersion, Wanted, next_version


class Readers(Part):
    """Which versions of views read which, what runs have read of them, and what of them was built when."""

    def readers_of(self, view: AppliedView, *, current: bool = False) -> tuple[AppliedView, ...]:
        """The view versions that read a version of another view, by name and version.

        Args:
            view: the version that is read.
            current: only the current versions of views that are still defined.
        """
        with self._database.read() as connection:
            return find_readers(connection, view, current=current)

    def record_upstreams(self, run_id: str, upstreams: Mapping[str, int | None]) -> None:
        """Record which Delta version a run reads of each view that its view reads, by `name@version`."""
        with self._database.write() as connection:
            connection.execute(update(runs).where(runs.c.run_id == run_id).values(upstreams=dict(upstreams)))

    def built_span(self, view: AppliedView) -> Interval | None:
        """From the start of the first interval of a view version that was built to the end of the last; None: none."""
        built = (ledger.c.view == view.name) & (ledger.c.version == view.version) & ledger.c.built
        query = select(func.min(ledger.c.interval_start), func.max(ledger.c.interval_end)).where(built)
        with self._database.read() as connection:
            start, end = connection.execute(query).one()
        return None if start is None else Interval(start, end)

    def built_ranges(self, view: AppliedView, *, delta_version: int) -> tuple[Interval, ...]:
        """The ranges that builds had built once a Delta version of the view's log was written, in no order.

        The ledger tells of each interval's last build alone.
        """
        own = (runs.c.view == view.name) & (runs.c.version == view.version) & (runs.c.kind == "build")
        done = runs.c.status.in_(("built", "unchanged", "empty"))
        early = runs.c.delta_version.is_(None) | (runs.c.delta_version <= delta_version)
        # A run that was killed after its commit has not said how it ended.
        mine = (commits.c.view == view.name) & (commits.c.version == view.version)
        committed = select(commits.c.run_id).where(mine, commits.c.delta_version <= delta_version)
        found = select(runs.c.range_start, runs.c.range_end).where(own, (done & early) | runs.c.run_id.in_(committed))
        with self._database.read() as connection:
            return tuple(Interval(*row) for row in connection.execute(found.distinct()))


def find_readers(connection: Connection, view: AppliedView, *, current: bool) -> tuple[AppliedView, ...]:
    """See `Readers.readers_of`."""
    # Canonical text: it is searched, so that not every definition is parsed.
    told = type_coerce(definition_versions.c.content, Text).contains(f'"view":"{view.name}"', autoescape=True)
    every = select(definition_versions).where(definition_versions.c.kind == VIEW, told)
    rows = current_versions(connection, VIEW) if current else connection.execute(every)
    readers = [
        applied_view(row.content, row.metadata, version=row.version)
        for row in rows
        if any((read.name, read.version) == (view.name, view.version) for _, read in reads_of(row.content))
    ]
    return tuple(sorted(readers, key=lambda reader: (reader.name, reader.version)))


def pin_views(wanted: Mapping[Name, Wanted], state: State) -> dict[Name, Wanted]:
    """What is wanted, feature views with the versions of the views that they read, and so with their hashes.

    Raises: DefinitionError: a view reads a version that there will not be, or one that it cannot read.
    """
    pinned = dict(wanted)
    reads = {want.name: dict(reads_of(want.content)) for want in wanted.values() if want.kind == VIEW}
    for name in order_views({name: {read.name for read in found.values()} for name, found in reads.items()}):
        if reads.get(name):
            pinned[VIEW, name] = _pin(wanted[VIEW, name], reads[name], pinned, state)
    return pinned


def check_removal(name: Name, wanted: Mapping[Name, Wanted], state: State, *, removed: Set[Name]) -> None:
    """That no view which stays reads one that is removed. Raises: DefinitionError: names those that do."""
    staying = {
        key: stored.versions[stored.current].content
        for key, stored in state.items()
        if key[0] == VIEW and stored.removed_at is None and key not in removed
    }
    staying |= {key: want.content for key, want in wanted.items() if key[0] == VIEW}
    readers = [key[1] for key, content in staying.items() if any(read.name == name[1] for _, read in reads_of(content))]
    if name[0] == VIEW and readers:
        raise DefinitionError(
            f"feature view {name[1]!r} is no longer in code, but is read by {', '.join(sorted(readers))}; keep it, or "
            "let them read something else first"
        )


def _pin(want: Wanted, reads: Mapping[str, Reference], pinned: Mapping[Name, Wanted], state: State) -> Wanted:
    found: dict[Reference, StoredVersion] = {}
    for source, read in reads.items():
        version = _version_of(read, pinned, state)
        if version is None:
            known = [f"{read.name}@{number}" for number in _numbers(read.name, pinned, state)]
            raise DefinitionError(
                f"FeatureView {want.name!r}: source {source!r}: {NotFoundError.of('feature view', str(read), known)}"
            )
        found[read] = version
    content = pin_sources(want.content, lambda read: (found[read].version, found[read].hash))
    view = applied_view(content, want.metadata, version=1)
    for given in view_sources(view):
        upstream = found[reads[given.name]]
        check_upstream(view, given, applied_view(upstream.content, upstream.metadata, version=upstream.version))
    return replace(want, content=content, hash=definition_hash(content))


def _version_of(read: Reference, pinned: Mapping[Name, Wanted], state: State) -> StoredVersion | None:
    """The version that a reference stands for once the plan is applied."""
    stored, coming = state.get((VIEW, read.name)), pinned.get((VIEW, read.name))
    if coming is not None:
        number = next_version(coming, stored)
        if read.version in (None, number):
            return StoredVersion(version=number, hash=coming.hash, content=coming.content, metadata=coming.metadata)
    return None if stored is None else stored.versions.get(read.version or 0)


def _numbers(name: str, pinned: Mapping[Name, Wanted], state: State) -> set[int]:
    stored, coming = state.get((VIEW, name)), pinned.get((VIEW, name))
    coming_number = set() if coming is None else {next_version(coming, stored)}
    return coming_number | set(stored.versions if stored is not None else ())
