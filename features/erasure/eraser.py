"""An erasure from its request to its end. Every step can be killed; the erasure is then resumed, and finds the rest."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.erasure.request import ErasureRequest, make_request, read_keys
from features.erasure.results import ErasedTable, ErasureResult
from features.erasure.sets import SetEraser
from features.erasure.tables import TableEraser
from features.errors import UsageError
from features.registry import Erasure, Registry, Run
from features.registry.erasures import ERASED_VERSIONS
from features.stores.base import OnlineStore
from features.training.leftovers import find_leftovers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

# Delta's default, `delta.deletedFileRetentionDuration`: until then a vacuum spares files that were replaced.
_SPARED = timedelta(days=7)

# Runs that append rows to logs.
_PUBLISHING = ("build", "release")

Keys = str | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Eraser:
    """What erasures of one environment share. session: the Spark session, started when it is asked for."""

    session: "Callable[[], SparkSession]"
    registry: Registry
    warehouse: str
    online: OnlineStore

    def plan(self, keys: Keys, *, entity: str | None) -> ErasureResult:
        """What `erase` would remove; nothing is changed, and nothing recorded. Raises: as `erase`."""
        views = self.registry.view_versions()
        request = self._request(keys, entity, views)
        concerned = _holding(request, views)
        tables = tuple(self._tables.look(view, request) for view in concerned)
        sets, unknown = self._sets.erase(request, views, None)
        return ErasureResult(
            erasure_id=None,
            entity=request.entity,
            keys=len(request.keys),
            tables=tables,
            training_sets=sets,
            remaining=(*unknown, *self._remaining(concerned, {})),
        )

    def erase(self, keys: Keys, *, entity: str | None, vacuum: bool) -> ErasureResult:
        """Remove the rows of these keys from everything that this environment holds; see `ErasureVerbs.erase`."""
        request = self._request(keys, entity, self.registry.view_versions())
        erasure = self.registry.request_erasure(entity=request.entity, columns=request.columns, keys=request.keys)
        logger.info("erasing", extra={"erasure": erasure.erasure_id, "entity": request.entity, "keys": erasure.count})
        return self._carry_out(erasure, vacuum=vacuum)

    def resume(self, erasure_id: str, *, vacuum: bool) -> ErasureResult:
        """Do what is left of an erasure that did not end. Raises: NotFoundError; UsageError: it did; as `erase`."""
        erasure = self.registry.erasure(erasure_id)
        if erasure.is_done:
            raise UsageError(f"erasure {erasure_id} is done; for rows that came since, make a new one")
        return self._carry_out(erasure, vacuum=vacuum)

    def _request(self, keys: Keys, entity: str | None, views: Sequence[AppliedView]) -> ErasureRequest:
        return make_request(read_keys(keys) if isinstance(keys, str) else keys, entity=entity, views=views)

    def _carry_out(self, erasure: Erasure, *, vacuum: bool) -> ErasureResult:
        request, erasure_id = ErasureRequest.of(erasure), erasure.erasure_id
        views = self.registry.view_versions()
        concerned = _holding(request, views)
        versions = dict(erasure.progress.get(ERASED_VERSIONS, {}))
        positions = {}
        # All logs before any set: what is saved from here on does not hold the rows, or is refused by the registry.
        for view in concerned:
            positions[view.reference] = self._tables.erase_offline(view, request, erasure_id)
            for commit in self._tables.commits(view, erasure_id)[:1]:
                versions[view.reference] = commit.version
                self.registry.record_erasure(erasure_id, {ERASED_VERSIONS: versions})
        tables = [self._erase_rest(view, request, erasure_id, positions[view.reference]) for view in concerned]
        sets, unknown = self._sets.erase(request, views, erasure_id)
        texts = self.registry.scrub_runs(concerned, request.scrubber([v.join_keys for v in concerned]))
        if vacuum:
            for view in concerned:
                self._tables.vacuum(view)
        # Before the logs are looked at: a build that ends in between is either told of, or has come back by then.
        under_way = tell_under_way(self.registry.running(), concerned)
        came_back = {
            view.reference: self._tables.came_back(view, request, position=positions[view.reference])
            for view in concerned
        }
        # Also where a log holds none: files that compaction or retention replaced before may.
        has_logs = any(table.position is not None for table in tables)
        result = ErasureResult(
            erasure_id=erasure_id,
            entity=request.entity,
            keys=erasure.count,
            tables=tuple(tables),
            training_sets=sets,
            texts=texts,
            gone_after=datetime.now(UTC) + _SPARED if has_logs and not vacuum else None,
            remaining=(*unknown, *under_way, *self._remaining(concerned, came_back)),
        )
        self.registry.finish_erasure(erasure_id, {ERASED_VERSIONS: versions, **result.progress()})
        logger.info("erased", extra={"erasure": erasure_id, "tables": len(tables), "training_sets": len(sets)})
        return result

    def _erase_rest(self, view: AppliedView, request: ErasureRequest, erasure_id: str, position: int) -> ErasedTable:
        """Erase from quarantine and online table; with what this run and those before it removed."""
        commits = self._tables.commits(view, erasure_id)
        return ErasedTable(
            view=view.reference,
            offline=sum(commit.note["rows"] for commit in commits),
            quarantined=self._tables.erase_quarantine(view, request, erasure_id),
            online=self._tables.erase_online(view, request, position=position, commits=commits),
            position=position or None,
        )

    def _remaining(self, views: Sequence[AppliedView], came_back: Mapping[str, int]) -> tuple[str, ...]:
        """What an operator has to do beside."""
        told = [
            f"{rows} rows of {view} were built again meanwhile, from its source: erase them there, then here again"
            for view, rows in came_back.items()
            if rows
        ]
        sources = sorted({source.name for view in views for source in view.sources})
        if sources:
            told.append(
                f"sources may still hold the entity: a rerun, a backfill or a new version brings back what they hold "
                f"({', '.join(sources)})"
            )
        targets = self.registry.load_targets()
        others = {t for view in views for t in targets.get(view.reference, ()) if not t.startswith("memory://")}
        if others := others - {self.online.target}:
            told.append(f"tables of these stores were loaded too, and still hold it: {', '.join(sorted(others))}")
        if leftovers := find_leftovers(self.registry, self.warehouse):
            told.append(f"folders of unfinished saves may hold it: {', '.join(leftovers)}")
        told.append("spines, copies of saved sets, backups and snapshots outside the warehouse are not known here")
        return tuple(told)

    @property
    def _tables(self) -> TableEraser:
        return TableEraser(spark=self.session(), registry=self.registry, warehouse=self.warehouse, online=self.online)

    @property
    def _sets(self) -> SetEraser:
        return SetEraser(spark=self.session(), registry=self.registry)


def tell_under_way(running: Sequence[Run], views: Sequence[AppliedView]) -> tuple[str, ...]:
    """That builds and releases of these versions are under way, which may have read the rows before they went."""
    concerned = {view.reference for view in views}
    alive = (run for run in running if run.process is None or run.process.runs() is not False)
    told = [f"{run.kind} of {run.view}" for run in alive if run.kind in _PUBLISHING and run.view in concerned]
    if not told:
        return ()
    return (
        f"what is under way may bring rows back that it has read: once it has ended ({', '.join(told)}), erase again",
    )


def _holding(request: ErasureRequest, views: Sequence[AppliedView]) -> tuple[AppliedView, ...]:
    """The view versions that can hold one of the keys."""
    return tuple(view for view in request.concerned(views) if request.typed(view.join_keys).num_rows)
