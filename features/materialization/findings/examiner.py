"""Looks an environment over: registry, logs, online tables and installation. Without Spark: in seconds."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain

from features.core.applied import AppliedView
from features.embedded.jar_download import spark_jars
from features.errors import FeatureStoreError, PlatformError
from features.materialization.findings.finding import ERROR, Finding
from features.materialization.findings.installed import (
    find_jar_skew,
    find_package_skew,
    find_server_skew,
    installed_version,
)
from features.materialization.findings.orphans import find_orphan_folders, find_orphan_tables, tell_leftovers
from features.materialization.findings.positions import UNTOLD, OnlineTables, find_gaps
from features.materialization.findings.runs import find_open_erasures, find_stuck_runs
from features.materialization.ledger import reconcile
from features.registry import Registry, Run
from features.stores.base import OnlineStore
from features.stores.log_state import LogState

# Logs may lie far away.
_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Examiner:
    """What is looked over.

    keyspace: of the online tables. stuck_hours: see MaintenanceSettings. leftovers: lists folders of training sets that
    no manifest names.
    """

    registry: Registry
    warehouse: str
    online: OnlineStore
    keyspace: str
    stuck_hours: int
    leftovers: Callable[[], Sequence[str]]

    def examine(self, *, now: datetime, fix: bool = False, dead_runs: Collection[str] = ()) -> tuple[Finding, ...]:
        """All findings, errors first. One part that cannot be looked over is a finding, and hides no other.

        Args:
            now: the present.
            fix: mend what is safe to mend: record runs whose process is gone as failed, and tell the registry of
                commits that killed runs left untold.
            dead_runs: ids of runs that are known to have ended, to be recorded as failed too.
        """
        parts: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
            ("installation", self._installation),
            ("runs", partial(self._runs, now, fix, dead_runs)),
            ("erasures", lambda: find_open_erasures(self.registry.erasures())),
            ("logs", partial(self._logs, fix)),
            ("training sets", lambda: tell_leftovers(self.leftovers())),
        ]
        found = [finding for name, look in parts for finding in _looked(name, look)]
        return tuple(sorted(found, key=lambda finding: finding.severity != ERROR))

    def _installation(self) -> Iterator[Finding]:
        yield from find_package_skew()
        try:
            jars = [path.name for path in spark_jars().glob("delta-spark_*.jar")]
        except PlatformError:
            return
        yield from find_jar_skew(jars, delta=installed_version("delta-spark"), spark=installed_version("pyspark"))

    def _runs(self, now: datetime, fix: bool, dead_runs: Collection[str]) -> Iterator[Finding]:
        stuck = list(find_stuck_runs(self.registry.running(), now=now, hours=self.stuck_hours))
        gone = {run.run_id for run, _ in stuck if fix and _is_gone(run)} | set(dead_runs)
        self.registry.fail_runs(gone, message="its process ended without a word")
        for run, finding in stuck:
            yield replace(finding, fixed=run.run_id in gone)

    def _logs(self, fix: bool) -> Iterator[Finding]:
        versions = self.registry.view_versions()
        online = OnlineTables(target=self.online.target, tables=self._tables())
        # A run that goes on may be about to tell.
        busy = {run.view for run in self.registry.running() if not _is_gone(run)}
        with ThreadPoolExecutor(_THREADS) as pool:
            look = partial(self._gaps, online=online)
            for view, findings in zip(versions, pool.map(look, versions), strict=True):
                for finding in findings:
                    if finding.kind == UNTOLD and view.reference in busy:
                        continue
                    if finding.kind == UNTOLD and fix:
                        reconcile(self.registry, LogState(self.warehouse, view), view)
                        finding = replace(finding, fixed=True)
                    yield finding
        yield from find_orphan_folders(self.warehouse, versions)
        if online.tables is not None:
            target = online.target
            yield from chain(
                find_orphan_tables(online.tables, versions, target=target, keyspace=self.keyspace),
                find_server_skew(self.online.server_version(), target=target),
            )

    def _gaps(self, view: AppliedView, *, online: OnlineTables) -> list[Finding]:
        return list(find_gaps(self.registry, self.warehouse, view, online))

    def _tables(self) -> frozenset[str] | None:
        try:
            return frozenset(self.online.tables())
        except FeatureStoreError:
            # Who asks is told by itself that the store cannot be reached.
            return None


def _is_gone(run: Run) -> bool:
    return run.process is not None and run.process.runs() is False


def _looked(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except FeatureStoreError as exc:
        yield Finding(severity=ERROR, kind="not examined", where=name, what=str(exc), fix="mend that, then look again")
