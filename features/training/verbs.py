"""The verbs of a feature store that give feature values of the past, and look after what was saved of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, overload

from features.errors import UsageError

if TYPE_CHECKING:
    from features.engine.as_of import Estimate
    from features.training.feature_rows import FeatureRows
    from features.training.manifest import Manifest
    from features.training.pinning import AsOfPoint
    from features.training.retrieval import Retrieval
    from features.training.training_set import TrainingSet


class TrainingVerbs(ABC):
    """Part of `FeatureStore`. Nothing is computed before an answer is turned into a frame or saved."""

    @property
    @abstractmethod
    def _retrieval(self) -> "Retrieval":
        """What requests of this store share."""

    @overload
    def get_historical_features(
        self,
        *,
        entity_df: Any,
        features: str | Sequence[str],
        known_at: str = ...,
        as_of: "AsOfPoint" = ...,
        full_feature_names: bool = ...,
        dry_run: Literal[False] = ...,
    ) -> "TrainingSet": ...

    @overload
    def get_historical_features(
        self,
        *,
        entity_df: Any,
        features: str | Sequence[str],
        known_at: str = ...,
        as_of: "AsOfPoint" = ...,
        full_feature_names: bool = ...,
        dry_run: Literal[True],
    ) -> "Estimate": ...

    def get_historical_features(
        self,
        *,
        entity_df: Any,
        features: str | Sequence[str],
        known_at: str = "created",
        as_of: "AsOfPoint" = None,
        full_feature_names: bool = False,
        dry_run: bool = False,
    ) -> "TrainingSet | Estimate":
        """Feature values as of each row's event_timestamp.

        Args:
            entity_df: a Spark, pandas or Arrow frame or a path: join keys, event_timestamp, and any other columns.
            features: a service's name, or references to views and features.
            known_at: "created": values that could be read at that time; "event": values that were true then, which
                leaks. Any other is refused.
            as_of: read the logs as they were committed at a moment, or at a Delta version: a number where one view is
                read, else a number by view; None: now.
            full_feature_names: name columns `view__feature`.
            dry_run: tell what would be read, instead: files, bytes and rows of each view, and tasks.

        Returns: the spine's columns untouched, then the features in the order asked. Nothing is computed yet.

        Raises: NotFoundError, SpineError, UsageError.
        """
        asked = self._retrieval.ask(features, known_at=known_at, as_of=as_of, full_feature_names=full_feature_names)
        found = self._retrieval.beside(entity_df, asked, as_of)
        return found.estimate() if dry_run else found

    def get_latest_features(
        self,
        *,
        features: str | Sequence[str],
        at: datetime | str | None = None,
        known_at: str = "created",
        as_of: "AsOfPoint" = None,
        full_feature_names: bool = False,
    ) -> "TrainingSet":
        """The values that a reader at a moment finds of every key, without a spine: for scoring in batches.

        Args:
            features: of views with the same join keys, and on-demand ones that read these and their keys alone; other
                arguments as of `get_historical_features`.
            at: the moment; None: now.

        Returns: a row for each key of which some view holds a row at that moment: join keys, event_timestamp (`at`),
            features. A value past its view's lookback is null.
        """
        asked = self._retrieval.ask(features, known_at=known_at, as_of=as_of, full_feature_names=full_feature_names)
        return self._retrieval.latest(asked, at, as_of)

    def get_feature_rows(
        self,
        *,
        features: str | Sequence[str],
        start: datetime | str,
        end: datetime | str,
        at: datetime | str | None = None,
        known_at: str = "created",
        as_of: "AsOfPoint" = None,
    ) -> "FeatureRows":
        """All rows of one view with start <= event_timestamp < end, corrected as a reader at a moment finds them.

        Args:
            features: a view, or some of its features. known_at, as_of: as of `get_historical_features`.
            at: the moment; None: all that the log holds is seen, whatever its created time.

        Returns: one row per key and event: join keys, event_timestamp, created_timestamp, features.
        """
        asked = self._retrieval.ask(features, known_at=known_at, as_of=as_of)
        return self._retrieval.rows(asked, start, end, at, as_of)

    def rebuild(self, manifest: "str | Manifest") -> "TrainingSet | FeatureRows":
        """A saved training set, computed again from its spine and log positions, and found equal to what was saved.

        Raises: NotFoundError: no such manifest; RegistryError: it was damaged; StorageError: what it needs is gone, or
            the content differs.
        """
        from features.training.manifest import Manifest

        reference = manifest.reference if isinstance(manifest, Manifest) else _named(manifest)
        return self._retrieval.rebuild(self._retrieval.registry.manifest(reference))

    def hold(self, name: str) -> None:
        """Keep what rebuilding a training set takes (`name` or `name@number`) from retention and drops."""
        self._retrieval.registry.hold(_named(name))

    def release(self, name: str) -> None:
        """End a hold."""
        self._retrieval.registry.release(_named(name))

    def training_sets(self) -> "tuple[Manifest, ...]":
        """All saved training sets, by name and number. Raises: RegistryError: a manifest was damaged; it is named."""
        from features.training.manifest import manifest_of

        return tuple(manifest_of(stored) for stored in self._retrieval.registry.manifests())

    def training_set_leftovers(self) -> tuple[str, ...]:
        """Folders of saved files that no manifest of this registry names: of killed or running saves, or of others.

        Another registry on the same warehouse may own them. Nothing is changed. Raises: StorageError.
        """
        from features.training.leftovers import find_leftovers

        return find_leftovers(self._retrieval.registry, self._retrieval.warehouse)

    def training_set(self, name: str) -> "Manifest":
        """A saved training set by `name@number`, or the latest by `name`.

        Raises: NotFoundError, UsageError; RegistryError: it was damaged.
        """
        from features.training.manifest import manifest_of

        return manifest_of(self._retrieval.registry.manifest(_named(name)))


def _named(name: object) -> str:
    if not isinstance(name, str):
        raise UsageError(f"which training set? give name or name@number, got {name!r}")
    return name
