"""Definition versions: applying what the code defines, and finding it again."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update

from features.core.applied import AppliedService, AppliedView
from features.core.applied_on_demand import AppliedOnDemandView, Requested
from features.core.canonical import applied_view
from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.consequences import foresee
from features.registry.lookups import (
    applied_service,
    current_versions,
    find_on_demand_view,
    find_service,
    find_view,
    on_demand_view,
    parse_exact,
    resolve_features,
)
from features.registry.plan import Plan
from features.registry.planning import Step, check_golden_rows, plan_steps, read_definitions
from features.registry.rollout_rows import begin_next_generation, follow_apply
from features.registry.schema import checkpoints, definition_versions, ledger, rollouts
from features.registry.schema import definitions as names
from features.registry.state import ON_DEMAND, SERVICE, VIEW, Name, State, Stored, StoredVersion


class DefinitionVersions(Part):
    """Immutable versions of views, on-demand views and services, and which of them is current."""

    def plan(self, definitions: Definitions) -> Plan:
        """What apply would do. Raises: as apply."""
        wanted = read_definitions(definitions)
        with self._database.read() as connection:
            state = _read_state(connection)
            steps = plan_steps(wanted, state, removable=_listed(state))
            plan = _plan(connection, steps, state)
        check_golden_rows(definitions, wanted, state)
        return plan

    def apply(self, definitions: Definitions, *, actor: str | None = None) -> Plan:
        """Make the registry hold what the code defines, all or nothing; what was done.

        Of two applies at once the later adds to the earlier, and removes nothing that it had not seen.

        Args:
            definitions: what `discover` found.
            actor: for the audit log; None names the user of this process.

        Raises:
            DefinitionError: a service or an on-demand view names something that there will not be, or an on-demand
                function does not make of its golden rows what they say.
            PlatformError: what an on-demand function computes with is not installed here.
        """
        wanted = read_definitions(definitions)
        with self._database.read() as connection:
            state = _read_state(connection)
        seen = _listed(state)
        # Here, not under the lock that makes writers wait: it runs an author's code.
        check_golden_rows(definitions, wanted, state)
        if not plan_steps(wanted, state, removable=seen):
            return Plan()
        by = name_actor(actor)
        with self._database.write() as connection:
            state = _read_state(connection)
            steps = plan_steps(wanted, state, removable=seen)
            plan = _plan(connection, steps, state)
            for step in steps:
                _carry_out(connection, step, actor=by)
            if steps:
                begin_next_generation(connection)
                record_audit(connection, actor=by, action="apply", detail={"changes": plan.to_dict()["changes"]})
        return plan

    def view(self, reference: str) -> AppliedView:
        """A view by `name` (its current version) or `name@version`. Raises: NotFoundError, UsageError."""
        parsed = parse_exact(reference, kind=VIEW)
        with self._database.read() as connection:
            return find_view(connection, parsed)

    def views(self) -> tuple[AppliedView, ...]:
        """The current version of each view that is still defined, by name."""
        with self._database.read() as connection:
            rows = current_versions(connection, VIEW)
        return tuple(applied_view(row.content, row.metadata, version=row.version) for row in rows)

    def on_demand_view(self, reference: str) -> AppliedOnDemandView:
        """An on-demand view by `name` (its current version) or `name@version`. Raises: NotFoundError, UsageError."""
        parsed = parse_exact(reference, kind=ON_DEMAND)
        with self._database.read() as connection:
            return find_on_demand_view(connection, parsed)

    def on_demand_views(self) -> tuple[AppliedOnDemandView, ...]:
        """The current version of each on-demand view that is still defined, by name."""
        with self._database.read() as connection:
            return tuple(on_demand_view(connection, row) for row in current_versions(connection, ON_DEMAND))

    def service(self, reference: str) -> AppliedService:
        """A service by `name` (its current version) or `name@version`. Raises: NotFoundError, UsageError."""
        parsed = parse_exact(reference, kind=SERVICE)
        with self._database.read() as connection:
            return find_service(connection, parsed)

    def services(self) -> tuple[AppliedService, ...]:
        """The current version of each service that is still defined, by name."""
        with self._database.read() as connection:
            rows = current_versions(connection, SERVICE)
        return tuple(applied_service(row) for row in rows)

    def resolve(self, features: str | Sequence[str]) -> tuple[Requested, ...]:
        """The features that a request names, in the order asked: stored ones, and ones that are computed on demand.

        `compile_request` tells what has to be read and computed for them.

        Args:
            features: a service (`fraud`, `fraud@2`), or a list of `view`, `view:feature` and `view@2:feature`. A single
                text may also be one of these.

        Raises:
            NotFoundError: no such service, view, version or feature; names the reference and the nearest known.
            UsageError: no feature at all, the same one twice, or text that is no reference.
        """
        with self._database.read() as connection:
            return resolve_features(connection, features)


def _plan(connection: Connection, steps: Sequence[Step], state: State) -> Plan:
    return Plan(tuple(foresee(connection, step.change, state) for step in steps))


def _listed(state: State) -> frozenset[Name]:
    return frozenset(name for name, stored in state.items() if stored.removed_at is None)


def _read_state(connection: Connection) -> State:
    built_ranges = {
        (row.view, row.version): Interval(row.start, row.end)
        for row in connection.execute(
            select(
                ledger.c.view,
                ledger.c.version,
                func.min(ledger.c.interval_start).label("start"),
                func.max(ledger.c.interval_end).label("end"),
            )
            .where(ledger.c.built)
            .group_by(ledger.c.view, ledger.c.version)
        )
    }
    found: dict[Name, dict[int, StoredVersion]] = defaultdict(dict)
    for row in connection.execute(select(definition_versions).order_by(definition_versions.c.version)):
        found[row.kind, row.name][row.version] = StoredVersion(
            version=row.version,
            hash=row.hash,
            content=row.content,
            metadata=row.metadata,
            built=built_ranges.get((row.name, row.version)) if row.kind == VIEW else None,
        )
    online = _live_versions(connection)
    return {
        (row.kind, row.name): Stored(
            current=row.current_version,
            removed_at=row.removed_at,
            versions=found[row.kind, row.name],
            serving=online.get(row.name) if row.kind == VIEW else None,
        )
        for row in connection.execute(select(names))
    }


def _live_versions(connection: Connection) -> dict[str, int]:
    """The live version of each view, where some online store holds it."""
    loaded = (checkpoints.c.view == rollouts.c.view) & (checkpoints.c.version == rollouts.c.live)
    query = select(rollouts.c.view, rollouts.c.live).join(checkpoints, loaded).distinct()
    return {row.view: row.live for row in connection.execute(query)}


def _carry_out(connection: Connection, step: Step, *, actor: str) -> None:
    change, wanted = step.change, step.wanted
    now = utc_now()
    named = (names.c.kind == change.object) & (names.c.name == change.name)
    if wanted is None:
        connection.execute(update(names).where(named).values(removed_at=now))
        return
    version = {"kind": change.object, "name": change.name, "version": change.version}
    if change.kind == "create":
        connection.execute(insert(names).values(kind=change.object, name=change.name, current_version=change.version))
    else:
        connection.execute(update(names).where(named).values(current_version=change.version, removed_at=None))
    if change.kind in ("create", "new version"):
        connection.execute(
            insert(definition_versions).values(
                **version,
                hash=wanted.hash,
                content=wanted.content,
                metadata=wanted.metadata,
                created_at=now,
                created_by=actor,
            )
        )
    else:
        connection.execute(update(definition_versions).filter_by(**version).values(metadata=wanted.metadata))
    if change.object == VIEW:
        follow_apply(connection, change.name, change.version, actor=actor)
