"""A project in a folder of its own, for days of flights: configuration, landed files, registry, warehouse, keyspace."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyarrow import compute, parquet

from features.config import Settings, load_settings
from features.demo.landing import DEFAULT_ROOT, land_flights, write_if_changed
from features.registry import Registry

CHECKOUT = Path(__file__).resolve().parents[2]
FIRST_DAY = datetime(2013, 3, 1, tzinfo=UTC)
# So far the views read back.
_HISTORY = timedelta(days=7)
_CONF = """\
views: features.views
warehouse: {root}/.state/warehouse
registry: sqlite:///{root}/.state/registry.db
online: {{port: {port}, keyspace: {keyspace}, consistency: LOCAL_ONE}}
spark: {{driver_memory: 1g}}
airflow:
  start: {start}
  end: {end}
  retries: {retries}
  retry_delay_seconds: 1
"""
# More than a run is ever killed, or started in vain while Airflow starts again.
RETRIES = 8
# Minutes: the gate refuses it of every view that reads flights.
_ABSURD_DELAY = 99_999.0


@dataclass(frozen=True, kw_only=True)
class FlightsProject:
    """One project of the flights views, with `days` daily intervals from `start` on; `port`: Cassandra's."""

    root: Path
    port: int
    keyspace: str
    days: int
    start: datetime = FIRST_DAY

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=self.days)

    @property
    def landing(self) -> Path:
        return self.root / DEFAULT_ROOT

    @property
    def settings(self) -> Settings:
        return load_settings(self.root / "conf", env="local")

    def make(self, *, landed: Path | None = None) -> None:
        """Lay it out, with flights landed, or those of another folder copied, and the views applied."""
        (self.root / "conf").mkdir(parents=True)
        conf = _CONF.format(
            root=self.root,
            port=self.port,
            keyspace=self.keyspace,
            start=self.start.isoformat(),
            end=self.end.isoformat(),
            retries=RETRIES,
        )
        (self.root / "conf/base.yaml").write_text(conf, encoding="utf-8")
        (self.root / "conf/local.yaml").write_text("", encoding="utf-8")
        (self.root / "jobs").symlink_to(CHECKOUT / "jobs")
        if landed is None:
            land_flights(self.landing, (self.start - _HISTORY).date(), self.end.date())
        else:
            shutil.copytree(landed, self.landing)
        self.run("apply")

    def open_registry(self) -> Registry:
        return Registry.open(self.settings.registry)

    def run(self, *words: str) -> dict[str, Any]:
        """What `features` answers, as a person would run it in the project. Raises: AssertionError: it failed."""
        command = [str(Path(sys.executable).with_name("features")), *words, "--json"]
        environment = {**os.environ, "FEATURES_CONF": "conf", "FEATURES_ENV": "local"}
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-3000:]}{done.stdout[-1000:]}"
        return dict(json.loads(done.stdout))

    def backfill(self, view: str) -> None:
        """Build all days of a view as one range, and load it."""
        self.run("backfill", view, "--start", self.start.isoformat(), "--end", self.end.isoformat())

    def damage(self, day: datetime) -> None:
        """One flight of a day arrives too late for any gate."""
        path = self._flights(day)
        table = parquet.ParquetFile(path).read()
        column = table.schema.get_field_index("arrival_delay")
        arrived = compute.index(compute.is_valid(table["arrival_delay"]), True).as_py()
        delays = table["arrival_delay"].to_pylist()
        delays[arrived] = _ABSURD_DELAY
        field = table.schema.field(column)
        assert write_if_changed(table.set_column(column, field, [delays]), path)

    def repair(self, day: datetime, landed: Path) -> None:
        """The flights of a day are landed again, as another folder has them."""
        path = self._flights(day)
        right = landed / path.relative_to(self.landing)
        assert write_if_changed(parquet.ParquetFile(right).read(), path)

    def _flights(self, day: datetime) -> Path:
        return self.landing / "flights" / f"day={day.date()}" / "flights.parquet"
