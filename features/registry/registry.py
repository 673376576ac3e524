"""The facade: one object through which everything else reads and writes the registry."""

from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from features.registry.audit import AuditLog
from features.registry.checkpoints import Checkpoints
from features.registry.costs import Costs
from features.registry.database import Database
from features.registry.definitions import DefinitionVersions
from features.registry.dump import Dumps
from features.registry.ledger import Ledger
from features.registry.maintenance import MaintenanceRecords
from features.registry.migration import newest
from features.registry.rollout import Rollouts
from features.registry.rollout_reads import RolloutReads
from features.registry.runs import Runs
from features.registry.source_schemas import SourceSchemas
from features.registry.training_sets import TrainingSets
from features.registry.upstreams import Readers


class Registry(
    DefinitionVersions,
    Readers,
    Runs,
    Ledger,
    SourceSchemas,
    Checkpoints,
    Rollouts,
    RolloutReads,
    TrainingSets,
    MaintenanceRecords,
    AuditLog,
    Costs,
    Dumps,
):
    """Definitions, runs, the ledger of intervals, loads, rollouts, manifests and the audit log of one environment.

    Every method is one transaction, and safe to call from threads and processes at once.
    """

    @classmethod
    def open(cls, url: str, *, password: SecretStr | None = None) -> Self:
        """The registry at a SQLAlchemy URL; its tables are made, or brought forward to this code's, where needed.

        Args:
            url: `sqlite:///path` (missing folders are made) or `postgresql://user@host/database`.
            password: of the database's user, kept out of the URL, of messages and of logs.

        Raises:
            RegistryError: the URL is of another kind, the database cannot be reached, or newer code has changed it.
        """
        return cls(Database.open(url, password=password))

    @classmethod
    def open_read_only(cls, url: str, *, password: SecretStr | None = None, scratch: Path) -> Self:
        """The registry at a URL, in which nothing is changed: neither by a migration nor by any method.

        Args:
            url, password: as of `open`.
            scratch: a folder, in which a registry of an earlier release is copied and brought forward.

        Raises: RegistryError: there is none, it cannot be reached, or newer code has changed it.
        """
        found = cls(Database.open(url, password=password, read_only=True))
        if found._database.version() == newest():
            return found
        with found:
            copy = cls.open(f"sqlite:///{scratch / 'registry.db'}")
            copy.copy_dump(found.dump())
        return copy

    def identity(self) -> str:
        """32 digits that tell this registry from all others: of its URL, and of the microsecond that it was made in.

        The same database under another URL, or a copy of it elsewhere, is told to be another.
        """
        return self._database.identity()

    def close(self) -> None:
        """Release connections; calling it twice is fine."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
