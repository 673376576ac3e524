"""The verbs of a feature store that compare versions, switch which one answers online, and drop what nobody reads."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from features.core.applied import AppliedView
from features.core.rollout import parse_share
from features.errors import UsageError
from features.registry import Registry, Switch
from features.stores.base import OnlineStore

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.materialization.parity_result import Parity

UNREAD_FOR = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Versions:
    """What the versions of one environment's views share. session: the Spark session, started when it is asked for."""

    registry: Registry
    online: OnlineStore
    warehouse: str
    session: "Callable[[], SparkSession]"

    def drop(self, view: AppliedView, *, unread_for: timedelta) -> bool:
        """Drop a version's online table, unless it is in use; whether it was there. Killed anywhere, it is run again.

        Raises: RefusedError: see `Registry.check_drop`. OnlineStoreError: the store cannot be reached.
        """
        # First, so that nothing takes the version for loaded while its table goes.
        self.registry.release_online(view, target=self.online.target, unread_for=unread_for)
        was_there = self.online.drop(view)
        # A load that ended meanwhile has said that the table holds what is gone now.
        if self.registry.checkpoint(view, target=self.online.target):
            self.registry.reset_checkpoint(view, target=self.online.target)
        return was_there


class RolloutVerbs(ABC):
    """Part of `FeatureStore`. A switch is one of the registry: running servers follow it within seconds."""

    @property
    @abstractmethod
    def _versions(self) -> Versions:
        """What the versions of this store share."""

    def promote(self, view: str, *, canary: str | None = None, force: bool = False) -> Switch:
        """Make a version answer online: for all keys, or in canary for a share of them.

        Args:
            view: `name@version`.
            canary: the share of keys that it answers for, such as "5%"; always the same ones, and a greater share keeps
                those of a smaller. None: all keys, for good.
            force: switch although it is not loaded up to its log, has other join keys than the live version, or lacks
                features that services ask of it.

        Raises: RefusedError, NotFoundError, UsageError; see `Registry.promote`.
        """
        share = None if canary is None else parse_share(canary)
        versions = self._versions
        return versions.registry.promote(view, target=versions.online.target, share=share, force=force)

    def rollback(self, view: str) -> Switch:
        """End a view's canary or, without one, go back to the version that was live before.

        Raises: RefusedError: there is neither, or that version is not loaded; NotFoundError, UsageError.
        """
        return self._versions.registry.rollback(view, target=self._versions.online.target)

    def shadow(self, view: str, *, off: bool = False) -> Switch:
        """Have servers read a version beside the live one and count how they differ; or stop that.

        Raises: RefusedError: it is live, of other join keys, or was never loaded; NotFoundError, UsageError.
        """
        return self._versions.registry.set_shadow(view, target=self._versions.online.target, off=off)

    def parity(
        self,
        first: str,
        second: str,
        *,
        sample: int | None = None,
        keys: str | None = None,
        rtol: float = 0.0,
        max_different: float = 0.01,
        max_missing: float = 0.01,
    ) -> "Parity":
        """Compare two versions key by key, at the ends of their logs; see `ParityCheck.compare`.

        Raises: NotFoundError, UsageError, SpineError, StorageError.
        """
        from features.materialization.parity import ParityCheck

        registry = self._versions.registry
        return ParityCheck(spark=self._versions.session(), warehouse=self._versions.warehouse).compare(
            registry.view(first),
            registry.view(second),
            sample=sample,
            keys=keys,
            rtol=rtol,
            max_different=max_different,
            max_missing=max_missing,
        )

    def drop(self, view: str, *, unread_for: timedelta = UNREAD_FOR) -> bool:
        """Drop the online table of a version; whether it was there. Its offline log stays, so it can be loaded again.

        Args:
            view: `name@version`.
            unread_for: refuse if a consumer has read it within that time.

        Raises:
            RefusedError: it is live, in canary, the shadow, pinned by a service or an on-demand view, or was read.
            NotFoundError, UsageError, OnlineStoreError.
        """
        return self._versions.drop(self._version(view), unread_for=unread_for)

    def check_drop(self, view: str, *, unread_for: timedelta = UNREAD_FOR) -> AppliedView:
        """The version whose online table `drop` would drop. Raises: as `drop`, save that the store is not asked."""
        found = self._version(view)
        self._versions.registry.check_drop(found, unread_for=unread_for)
        return found

    def _version(self, view: str) -> AppliedView:
        found = self._versions.registry.view(view)
        if "@" not in view:
            raise UsageError(f"{view!r} names no version; write it, such as {found.reference}")
        return found
