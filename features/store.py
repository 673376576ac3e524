"""FeatureStore: one object over registry, offline logs and online store. Wiring alone: each verb calls one function."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, Unpack

from features.config import Settings, load_settings
from features.core.applied import AppliedView
from features.core.definitions import FeatureView
from features.core.discovery import Definitions, discover
from features.core.schedule import cover
from features.core.times import parse_instant
from features.core.upstreams import code_hash
from features.erasure.verbs import ErasureVerbs
from features.errors import StaleCodeError
from features.materialization.maintenance.verbs import MaintenanceVerbs
from features.materialization.quarantine_verbs import Quarantines, QuarantineVerbs
from features.materialization.rollout import RolloutVerbs, Versions
from features.materialization.suites import with_checked_suites
from features.materialization.verbs import Ledgered, LedgerVerbs
from features.registry import Plan, Registry
from features.training.verbs import TrainingVerbs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.erasure.eraser import Eraser
    from features.materialization.build import Builder
    from features.materialization.findings.examiner import Examiner
    from features.materialization.load import Loader
    from features.materialization.maintenance.maintain import Maintainer
    from features.materialization.results import BuildResult, CompactResult, LoadPlan, LoadResult, MaterializeResult
    from features.serving.client import OnlineClient, OnlineOptions
    from features.serving.response import OnlineResponse
    from features.stores.base import OnlineStore
    from features.training.retrieval import Retrieval


class FeatureStore(TrainingVerbs, RolloutVerbs, QuarantineVerbs, LedgerVerbs, MaintenanceVerbs, ErasureVerbs):
    """One environment's feature store.

    Opening it is cheap: Spark starts with the first verb that needs it, the online store connects likewise. A view is
    named `name` (its current version) or `name@version`; times are aware datetimes, or ISO strings with an offset.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def from_conf(
        cls, conf: str | Path = "conf", *, env: str | None = None, overrides: Mapping[str, Any] | None = None
    ) -> Self:
        """The store of an environment of a conf folder; see `load_settings`. Raises: ConfigError."""
        return cls(load_settings(conf, env=env, overrides=overrides))

    def plan(self, against: Settings | None = None) -> Plan:
        """What `apply` would change, in words. Raises: DefinitionError: the views package is not valid.

        Args:
            against: the settings of another environment, whose registry is only read; None: this one's.
        """
        if against is None:
            return self.registry.plan(with_checked_suites(self.definitions))
        with TemporaryDirectory(prefix="features-plan-") as scratch:
            password = against.registry_password()
            with Registry.open_read_only(against.registry, password=password, scratch=Path(scratch)) as registry:
                return registry.plan(with_checked_suites(self.definitions))

    def apply(self) -> Plan:
        """Register what the views package defines; what was changed. Doing it twice changes nothing more."""
        return self.registry.apply(with_checked_suites(self.definitions))

    def build(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        now: datetime | str | None = None,
        *,
        upstream_versions: Mapping[str, int] | None = None,
    ) -> "BuildResult":
        """Compute the intervals of [start, end) into the offline log; see `Builder.build`.

        Raises: NotFoundError, IntervalError, StaleCodeError, SourceError, TransformError, RefusedError, StorageError.
        """
        code, applied = self._current(view)
        since, until = parse_instant(start, name="start"), parse_instant(end, name="end")
        clock = None if now is None else parse_instant(now, name="now")
        cover(applied.schedule, since, until)
        return self._builder.build(code, applied, since, until, now=clock, upstream_versions=upstream_versions)

    def load(self, view: str, full: bool = False, path: str | None = None) -> "LoadResult":
        """Bring the online table up to the log; see `Loader.load`.

        Raises: OnlineStoreError, StorageError; PlatformError: path="sstable", which the machine lacks something for.
        """
        return self._loader.load(self.registry.view(view), full=full, path=path)

    def plan_load(self, view: str, full: bool = False, path: str | None = None) -> "LoadPlan":
        """What `load` would do now; nothing is written. Raises: as `load`."""
        return self._loader.plan(self.registry.view(view), full=full, path=path)

    def compact(self, view: str) -> "CompactResult":
        """Rewrite a view's log as few sorted files, for readers and pins without a change; see `Compactor.compact`.

        Raises: NotFoundError, StorageError.
        """
        from features.materialization.compaction import Compactor

        compactor = Compactor(spark=self.spark, registry=self.registry, warehouse=self._warehouse)
        return compactor.compact(self.registry.view(view))

    def materialize(
        self,
        view: str,
        start: datetime | str,
        end: datetime | str,
        *,
        reprocess: int = 0,
        upstream_versions: Mapping[str, int] | None = None,
        load: bool = True,
    ) -> "MaterializeResult":
        """Build, then load.

        Args:
            view: its name.
            start, end: the run's own interval, or a range of them.
            reprocess: how many built intervals before it to compute again, for late data; what changed in them counts
                as known from this run on.
            upstream_versions: as for `build`.
            load: bring the online table up to the log afterwards.
        """
        from features.materialization.backfill import rerun_past
        from features.materialization.results import MaterializeResult

        code, applied = self._current(view)
        since, until = parse_instant(start, name="start"), parse_instant(end, name="end")
        cover(applied.schedule, since, until)
        builder, reads = self._builder, upstream_versions
        again = rerun_past(builder, code, applied, since, until, count=reprocess, upstream_versions=reads)
        build = builder.build(code, applied, since, until, upstream_versions=reads)
        loaded = self._loader.load(applied) if load else None
        return MaterializeResult(build=build, reprocessed=again, load=loaded)

    def get_online_features(
        self,
        *,
        features: str | Sequence[str],
        entity_rows: Sequence[Mapping[str, Any]],
        **options: Unpack["OnlineOptions"],
    ) -> "OnlineResponse":
        """The latest values of each entity row's keys, with a status each; see `OnlineClient.get`, also for options."""
        return self.online_client.get(features=features, entity_rows=entity_rows, **options)

    async def get_online_features_async(
        self,
        *,
        features: str | Sequence[str],
        entity_rows: Sequence[Mapping[str, Any]],
        **options: Unpack["OnlineOptions"],
    ) -> "OnlineResponse":
        """The same, without blocking the event loop."""
        return await self.online_client.get_async(features=features, entity_rows=entity_rows, **options)

    @property
    def definitions(self) -> Definitions:
        """What the views package defines in code."""
        return discover(self.settings.views)

    @cached_property
    def registry(self) -> Registry:
        """The registry, opened when it is first used."""
        return Registry.open(self.settings.registry, password=self.settings.registry_password())

    @cached_property
    def spark(self) -> "SparkSession":
        """The Spark session, started when it is first used."""
        from features.engine.session import open_session

        return open_session(self.settings.spark, app=f"features-{self.settings.env}")

    @cached_property
    def online(self) -> "OnlineStore":
        """The online store, which connects when it is first asked for something."""
        from features.materialization.load_tools import bulk_tools
        from features.stores.opening import open_online_store

        return open_online_store(self.settings.online, tools=bulk_tools(self.settings))

    @cached_property
    def online_client(self) -> "OnlineClient":
        """What serving apps read through."""
        from features.serving.cache import RowCache
        from features.serving.client import OnlineClient

        serving = self.settings.serving
        cache = RowCache(ttl_seconds=serving.cache_seconds, max_rows=serving.cache_rows)
        return OnlineClient(
            self.registry,
            self.online,
            definitions=lambda: self.definitions,
            cache=cache if serving.cache_seconds else None,
        )

    def close(self) -> None:
        """Release connections; the Spark session is left to its process. Calling it twice is fine."""
        # The client first: it tells the registry what was read.
        for name in ("online_client", "online", "registry"):
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _warehouse(self) -> str:
        warehouse = self.settings.warehouse
        return warehouse if "://" in warehouse else str(Path(warehouse).absolute())

    @property
    def _builder(self) -> "Builder":
        from features.materialization.build import Builder
        from features.quality.gx import preload

        if "spark" not in self.__dict__:
            preload()
        return Builder(
            spark=self.spark,
            registry=self.registry,
            warehouse=self._warehouse,
            connections=self.settings.connections,
        )

    @property
    def _retrieval(self) -> "Retrieval":
        from features.materialization.ledger import reconcile
        from features.training.retrieval import Retrieval

        return Retrieval(
            session=lambda: self.spark,
            registry=self.registry,
            warehouse=self._warehouse,
            package=self.settings.views,
            definitions=lambda: self.definitions,
            reconcile=reconcile,
        )

    @property
    def _loader(self) -> "Loader":
        from features.materialization.load import Loader

        return Loader(spark=self.spark, registry=self.registry, warehouse=self._warehouse, online=self.online)

    @property
    def _versions(self) -> Versions:
        return Versions(
            registry=self.registry, online=self.online, warehouse=self._warehouse, session=lambda: self.spark
        )

    @property
    def _quarantines(self) -> Quarantines:
        return Quarantines(registry=self.registry, warehouse=self._warehouse, session=lambda: self.spark)

    @property
    def _ledgered(self) -> Ledgered:
        return Ledgered(
            registry=self.registry,
            warehouse=self._warehouse,
            settings=self.settings.backfill,
            current=self._current,
            session=lambda: self.spark,
            builder=lambda: self._builder,
            loader=lambda: self._loader,
        )

    @property
    def _maintainer(self) -> "Maintainer":
        from features.materialization.maintenance.maintain import Maintainer

        return Maintainer(
            session=lambda: self.spark,
            registry=self.registry,
            warehouse=self._warehouse,
            settings=self.settings.maintenance,
        )

    @property
    def _examiner(self) -> "Examiner":
        from features.materialization.findings.examiner import Examiner

        return Examiner(
            registry=self.registry,
            warehouse=self._warehouse,
            online=self.online,
            keyspace=self.settings.online.keyspace,
            stuck_hours=self.settings.maintenance.stuck_hours,
            leftovers=self.training_set_leftovers,
        )

    @property
    def _eraser(self) -> "Eraser":
        from features.erasure.eraser import Eraser

        return Eraser(session=lambda: self.spark, registry=self.registry, warehouse=self._warehouse, online=self.online)

    def _current(self, reference: str) -> tuple[FeatureView, AppliedView]:
        """The code of a view, and the version that it was applied as. Raises: StaleCodeError: they differ."""
        applied = self.registry.view(reference)
        definitions = self.definitions
        code = definitions.view(applied.name)
        found = code_hash(code, definitions.views, lambda version: self.registry.view(version).definition_hash)
        if found != applied.definition_hash:
            raise StaleCodeError(
                f"the code of {applied.name!r} ({found[:12]}) is not that of {applied.reference} "
                f"({applied.definition_hash[:12]}); look at `features plan`, then run `features apply`"
            )
        return code, applied
