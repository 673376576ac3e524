"""The verbs of a feature store that erase an entity."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.registry import Erasure

if TYPE_CHECKING:
    from features.erasure.eraser import Eraser
    from features.erasure.results import ErasureResult


class ErasureVerbs(ABC):
    """Part of `FeatureStore`. Erasing cannot be undone."""

    @property
    @abstractmethod
    def _eraser(self) -> "Eraser":
        """What erasures of this store share."""

    def erase(
        self, keys: str | Sequence[Mapping[str, Any]], *, entity: str | None = None, vacuum: bool = False
    ) -> "ErasureResult":
        """Remove all rows of some keys of an entity, wherever this environment holds them, also where a hold is.

        From the logs, the quarantine and the online tables of every version of every view whose join keys include the
        entity's; from saved training sets and the spines beside them; and from what the registry tells of runs.

        Args:
            keys: each with all join keys of the entity, by name; or the path of a CSV or Parquet file of them.
            entity: its name; None: the one that has these join keys.
            vacuum: delete the replaced files of the logs at once, also from under running readers of older versions;
                else a vacuum does, once it no longer spares them.

        Returns: what was removed where, and what is left to do. Killed, it is resumed by `resume_erasure`.

        Raises:
            UsageError: no keys, or other columns or types than the entity's. NotFoundError: no such entity.
            RefusedError: another erasure has not ended.
            StorageError: a log or a set cannot be read or written. OnlineStoreError: the store cannot be reached.
        """
        return self._eraser.erase(keys, entity=entity, vacuum=vacuum)

    def plan_erasure(self, keys: str | Sequence[Mapping[str, Any]], *, entity: str | None = None) -> "ErasureResult":
        """What `erase` would remove; nothing is changed. Raises: as `erase`."""
        return self._eraser.plan(keys, entity=entity)

    def resume_erasure(self, erasure_id: str, *, vacuum: bool = False) -> "ErasureResult":
        """Do what is left of an erasure that did not end. Raises: NotFoundError; as `erase`."""
        return self._eraser.resume(erasure_id, vacuum=vacuum)

    def erasures(self) -> tuple[Erasure, ...]:
        """All erasures, newest first; keys are told of those alone that have not ended."""
        return self._eraser.registry.erasures()
