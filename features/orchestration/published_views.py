"""What the registry knows to be built of a view, for a task that waits for it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from features.config import Settings, load_settings
from features.orchestration.upstream_events import Published
from features.registry import Registry

_SQLITE = "sqlite:///"


def open_registry(settings: Settings, root: Path) -> Registry:
    """The registry, as jobs find it: they run in the project's root, Airflow elsewhere. Raises: RegistryError."""
    url = settings.registry
    if url.startswith(_SQLITE):
        url = _SQLITE + str(root / url.removeprefix(_SQLITE))
    return Registry.open(url, password=settings.registry_password())


@dataclass(frozen=True, slots=True)
class PublishedViews:
    """The ledger of one environment's registry; conf: the configuration folder, in the project's root."""

    conf: str
    env: str

    def read(self, reference: str, *, since: datetime | None, until: datetime) -> list[Published]:
        """The built intervals of a view version that overlap [since, until), by their start; since None: no bound.

        Raises: ConfigError, RegistryError; NotFoundError: there is no such view, any more.
        """
        folder = Path(self.conf)
        with open_registry(load_settings(folder, env=self.env), folder.parent) as registry:
            entries = registry.ledger(registry.view(reference), since=since, until=until)
        return [Published(interval=e.interval, delta_version=e.delta_version) for e in entries if e.built]
