"""What a project holds at the end, and in what it differs from another one."""

from collections import Counter
from collections.abc import Iterable, Sequence

from deltalake import DeltaTable

from features.core.applied import AppliedView
from features.core.times import format_instant
from features.stores.cql import table_columns
from features.stores.delta import SEQ
from tests.online_settings import session_of
from tests.soak.project import FlightsProject
from tests.soak.standalone import Standalone

_UNSOUND = ("refused", "failed", "stale", "missing")


def find_differences(one: FlightsProject, other: FlightsProject, views: Sequence[str]) -> list[str]:
    """Rows of the logs, of Cassandra and of the ledgers that only one of them has, created times included."""
    found: list[str] = []
    for view in views:
        for what, read in (("log", _log), ("online", _online), ("ledger", _ledger)):
            mine, others = Counter(read(one, view)), Counter(read(other, view))
            if not mine:
                found.append(f"{view}: {what}: nothing there")
            found += [f"{view}: {what}: only {one.keyspace} has {row}" for row in (mine - others).elements()]
            found += [f"{view}: {what}: only {other.keyspace} has {row}" for row in (others - mine).elements()]
    return found


def find_holes(project: FlightsProject, views: Sequence[str]) -> list[str]:
    """What `features status` does not find whole: every interval built once, all of it online."""
    told = {view["view"].partition("@")[0]: view for view in project.run("status")["views"]}
    found = [f"{name}: hole {hole}" for name in views for hole in told[name]["holes"]]
    for name in views:
        view = told[name]
        found += [f"{name}: {view[state]} {state}" for state in _UNSOUND if view[state]]
        if view["built"] + view["empty"] != project.days:
            found.append(f"{name}: {view['built']} built and {view['empty']} empty of {project.days} intervals")
        if view["position"] != view["built"]:
            found.append(f"{name}: {view['position']} commits for {view['built']} built intervals")
        if view["loaded"] != view["position"]:
            found.append(f"{name}: loaded up to {view['loaded']} of {view['position']}")
    return found


def find_untold_versions(standalone: Standalone, views: Sequence[str]) -> list[str]:
    """Intervals whose newest asset event does not carry the Delta version that the ledger has."""
    found: list[str] = []
    for name in views:
        told = standalone.event_versions(name)
        with standalone.project.open_registry() as registry:
            entries = registry.ledger(registry.view(name))
        for entry in entries:
            start = format_instant(entry.interval.start)
            if start not in told or told[start] != entry.delta_version:
                found.append(f"{name} {start}: event {told.get(start)}, ledger {entry.delta_version}")
    return found


def _log(project: FlightsProject, name: str) -> Iterable[str]:
    view = _applied(project, name)
    table = DeltaTable(f"{project.settings.warehouse}/{view.log_path}").to_pyarrow_table()
    # The order of commits is that of runs: which came first between a refusal and its repair, say.
    return [repr(row) for row in table.select(sorted({*table.column_names} - {SEQ})).to_pylist()]


def _online(project: FlightsProject, name: str) -> Iterable[str]:
    view, online = _applied(project, name), project.settings.online
    columns = ", ".join(f'"{column}"' for column in table_columns(view))
    with session_of(online) as session:
        rows = session.execute(f'SELECT {columns} FROM "{online.keyspace}"."{view.online_table}"')
        return [repr(tuple(row)) for row in rows]


def _ledger(project: FlightsProject, name: str) -> Iterable[str]:
    view = _applied(project, name)
    with project.open_registry() as registry:
        entries = registry.ledger(view)
    return [f"{e.interval} {e.status} built={e.built} stale={e.stale} rows={e.rows}" for e in entries]


def _applied(project: FlightsProject, name: str) -> AppliedView:
    with project.open_registry() as registry:
        return registry.view(name)
