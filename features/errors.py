"""Every error that the feature store raises on purpose, one tree. Each message says what, where, and what to do next.

FeatureStoreError
 ├── DefinitionError        a definition, or a views module, is not valid
 ├── ConfigError            conf/ or an override is not valid
 ├── UsageError             a call's arguments make no sense (exit code 2)
 │    ├── NotFoundError     an unknown view, feature, service, training set
 │    ├── IntervalError     an interval off the schedule, reversed, or overlapping a built one
 │    └── SpineError        entity_df or entity_rows lack keys or times, or have the wrong types
 ├── RegistryError          the registry is unreachable, or is not at the version of this code
 │    └── StaleCodeError    the code of a view is not the one that was applied
 ├── SourceError            a source is missing, unreadable, or lacks a column
 │    ├── TimeError         a naive or null time where an instant is required
 │    └── UpstreamError     a view that is read lacks intervals, for now: build those, then run this again
 ├── TransformError         a transform raised, or returned something other than it declares
 │    └── DuplicateRowsError   two different rows of one key and time
 ├── RefusedError           the gate refused an interval, or a check a switch or drop of a version: nothing was changed
 ├── StorageError           the offline log cannot be read or written
 ├── OnlineStoreError       the online store is unreachable, or holds something else than was loaded
 │    └── NotLoadedError    nothing of a view was loaded yet
 └── PlatformError          the machine lacks something: a JDK, a jar, a free port, disk space

Exit codes of every command: 0 done, 1 refused or failed, 2 wrong usage. `retry` says whether the same again may
succeed with nobody's help: where a service or the machine failed. A definition, a refusal or a wrong value stays wrong.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class FeatureStoreError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1
    retry = False

    def __init__(self, *args: object, retry: bool | None = None) -> None:
        """An error with its message.

        Args:
            args: the message.
            retry: whether the same again may succeed; None: as its class says.
        """
        super().__init__(*args)
        if retry is not None:
            self.retry = retry


class DefinitionError(FeatureStoreError):
    """A definition, or a module of definitions, is not valid."""


class ConfigError(FeatureStoreError):
    """conf/ or an override is not valid."""

    exit_code = 2


class UsageError(FeatureStoreError):
    """The arguments of a call make no sense."""

    exit_code = 2


class NotFoundError(UsageError):
    """A name that the registry does not know."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], hint: str = "") -> "NotFoundError":
        """An error that suggests the nearest known name, or lists the known ones."""
        names = sorted(set(known))
        near = get_close_matches(name, names, n=1)
        if near:
            tail = f"did you mean {near[0]!r}?"
        elif names:
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            tail = f"known: {shown}"
        else:
            tail = hint or "none is registered: run `features apply`"
        return cls(f"no {kind} {name!r}; {tail}")


class IntervalError(UsageError):
    """An interval that is reversed, off the schedule, or overlaps a built one."""


class SpineError(UsageError):
    """The rows to enrich lack a key or a time, or hold one of the wrong type."""


class RegistryError(FeatureStoreError):
    """The registry is unreachable (retry), or holds something that this code cannot use."""


class StaleCodeError(RegistryError):
    """The code of a view is not the code that was applied."""


class SourceError(FeatureStoreError):
    """A source is missing, unreadable, or lacks a column."""


class TimeError(SourceError):
    """A naive or null time where an instant is required."""


class UpstreamError(SourceError):
    """A view that is read does not hold, or not yet, what a build needs of it: the same again may succeed later."""

    retry = True

    retry = True


class TransformError(FeatureStoreError):
    """A transform raised, or returned something other than its view declares."""


class DuplicateRowsError(TransformError):
    """Two different rows of one key and time."""


class RefusedError(FeatureStoreError):
    """The gate refused an interval, or a check a switch or drop of a version: nothing was changed."""


class StorageError(FeatureStoreError):
    """The offline log cannot be read or written."""

    retry = True


class OnlineStoreError(FeatureStoreError):
    """The online store is unreachable, or holds something else than was loaded."""

    retry = True


class NotLoadedError(OnlineStoreError):
    """A view has no online table: nothing of it was loaded yet, or the table was dropped."""

    retry = False

    def __init__(self, view: str, detail: str) -> None:
        """See the attributes.

        Args:
            view: "name@version".
            detail: what the store said.
        """
        super().__init__(f"nothing of {view} is loaded ({detail}); run `features load {view}`")
        self.view = view


class PlatformError(FeatureStoreError):
    """The machine lacks something: a JDK, a jar, a free port, disk space."""

    retry = True
