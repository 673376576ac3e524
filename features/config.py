"""Settings: conf/base.yaml under conf/<env>.yaml under overrides, as one frozen object that is passed down.

Secrets are never in conf: it names the environment variable that holds one (`password_env: CASSANDRA_PASSWORD`).
"""

import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from features.errors import ConfigError

_CALLBACK = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Section):
    """How clients speak TLS with Cassandra. Paths of PEM files, relative to the working folder.

    Attributes:
        ca_file: the authorities that may have signed the servers' certificates; None: those that the machine trusts.
        cert_file: the client's own certificate, its chain behind it, where servers require one.
        key_file: its private key, unencrypted; None: `cert_file` holds it too.
        verify_hostname: also refuse a certificate that does not name the address that was connected to. Drivers connect
            to the addresses that nodes announce, so certificates must hold those IP addresses.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify_hostname: bool = True

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> "TlsSettings":
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is the key of a certificate: set cert_file too")
        return self


class LoadSettings(_Section):
    """How loads reach the online store: as SSTables that executors build, or as CQL statements; see docs/loading.md."""

    path: Literal["auto", "sstable", "cql"] = "auto"
    sstable_rows: int = Field(default=100_000, ge=0, description="auto: from so many keys on, SSTables are written")
    directory: str | None = Field(default=None, description="where SSTables are built; None: for temporary files")
    run_mb: int = Field(default=64, ge=1, le=1024, description="MiB of rows that a task sorts, and an SSTable holds")
    heap_mb: int = Field(default=512, ge=128, description="MiB of heap of the process that writes SSTables for a task")
    jmx_port: int | None = Field(default=None, ge=1, le=65535, description="of a lone node where the executors run")
    jmx_username: str | None = None
    jmx_password_env: str | None = Field(default=None, description="name of the environment variable")
    storage_port: int | None = Field(default=None, ge=1, le=65535, description="between nodes; None: as they tell")


class OnlineSettings(_Section):
    """Where the latest values are served from. `embedded` starts a Cassandra on this machine, if hosts are loopback."""

    type: Literal["cassandra", "memory"] = "cassandra"
    hosts: tuple[str, ...] = Field(default=("127.0.0.1",), min_length=1)
    port: int = Field(default=9042, ge=1, le=65535)
    keyspace: str = Field(default="features", pattern=r"^[a-z][a-z0-9_]{0,47}$")
    replication: int = Field(default=1, ge=1, description="replication factor of a keyspace that `apply` creates")
    datacenter: str = "datacenter1"
    consistency: Literal["ONE", "LOCAL_ONE", "LOCAL_QUORUM", "QUORUM", "ALL"] = "LOCAL_QUORUM"
    username: str | None = None
    password_env: str | None = Field(
        default=None, description="name of the environment variable that holds the password"
    )
    tls: TlsSettings | None = Field(default=None, description="None: connections are not encrypted")
    timeout_seconds: float = Field(default=10.0, gt=0)
    hedge_milliseconds: float | None = Field(
        default=50.0, gt=0, description="a read not answered after so long is asked of another replica too; None: never"
    )
    keys_per_read: int = Field(
        default=20, ge=1, description="keys of one replica that one statement asks for; 1: one each"
    )
    embedded: bool = Field(default=False, description="features cassandra start serves these hosts from this machine")
    load: LoadSettings = LoadSettings()

    @field_validator("hosts", mode="before")
    @classmethod
    def _one_host(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def password(self) -> SecretStr | None:
        """The password, read from the environment when it is needed. Raises: ConfigError: the variable is not set."""
        return None if self.password_env is None else read_secret("online.password_env", self.password_env)


class ServingKey(_Section):
    """An API key of `features serve`: its SHA-256, never the key. `services` may be asked for; "*": anything.

    A hash without salt suffices: keys are 256 random bits, which nobody finds by trying.
    """

    name: str = Field(min_length=1, max_length=100, description="who asks: it stands in the access log")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    services: Literal["*"] | tuple[str, ...] = Field(default=(), description='names of feature services, or "*"')
    expires: datetime | None = None

    @field_validator("expires")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        return _with_offset(value)


class ServingSettings(_Section):
    """How much `features serve` takes on, and who may ask it. Bounds of requests are for each worker process."""

    workers: int = Field(default=1, ge=1, le=256)
    max_rows: int = Field(default=1_000, ge=1, description="entity rows of a request")
    max_features: int = Field(default=1_000, ge=1, description="columns that a request's features stand for")
    max_values: int = Field(default=100_000, ge=1, description="rows x columns of a request")
    max_body_bytes: int = Field(default=1_048_576, ge=1)
    timeout_ms: int = Field(default=2_000, ge=1, description="deadline of a request that names none")
    max_timeout_ms: int = Field(default=10_000, ge=1, description="the longest that a request may ask for")
    max_in_flight: int = Field(default=256, ge=1, description="requests under way at once, at most")
    queue_target_ms: float = Field(default=5.0, gt=0, description="waits above it: fewer are taken on at once")
    shutdown_seconds: int = Field(default=10, ge=1, description="what is under way gets so long to finish")
    cache_seconds: float = Field(default=0, ge=0, description="rows are answered again for so long; 0: no cache")
    cache_rows: int = Field(default=100_000, ge=1, description="rows that the cache of a process keeps")
    access_log: str = Field(default="stderr", description='a path, "stderr" or "off"')
    keys: tuple[ServingKey, ...] = ()
    keys_file: str | None = Field(default=None, description="YAML, a list of keys; read again when it changes")


class ConnectionSettings(_Section):
    """A database that sources read. `driver`: a JDBC driver's class; `options`: of Spark's reader, and the driver."""

    url: str = Field(pattern=r"^jdbc:\w+:", description="without a password, such as jdbc:postgresql://host/database")
    username: str | None = None
    password_env: str | None = Field(default=None, description="name of the environment variable")
    driver: str | None = None
    options: dict[str, str] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        if re.search(r"password=|//[^/@]*:[^/@]*@", value, re.IGNORECASE):
            raise ValueError("holds a password; set username, and password_env")
        return value

    @field_validator("options")
    @classmethod
    def _no_secret_option(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := {"url", "user", "password", "dbtable", "query"} & {key.lower() for key in value}:
            raise ValueError(f"must not hold {min(taken)!r}: the connection and its sources say that")
        return value

    def password(self, name: str) -> SecretStr | None:
        """The password, read from the environment when it is needed. Raises: ConfigError: the variable is not set."""
        return None if self.password_env is None else read_secret(f"connections.{name}.password_env", self.password_env)


class SparkSettings(_Section):
    """How jobs start Spark. `conf` holds any Spark property; `master` is left to spark-submit where it is None."""

    master: str | None = "local[2]"
    driver_memory: str = "1g"
    conf: dict[str, str] = Field(default_factory=dict)


class PoolSettings(_Section):
    """Airflow's pools that tasks take slots of; None: its default. With `cassandra`, a load is a task of its own."""

    spark: str | None = None
    cassandra: str | None = None


class AirflowSettings(_Section):
    """How views become DAGs. `start` and `end` bound the data intervals that catch-up runs; end None: no bound.

    on_failure, on_missed_deadline: what is called, as "package.module:name": a function of Airflow's context, or a
        notifier. It is imported when it is called, in Airflow's environment.
    """

    start: datetime | None = None
    end: datetime | None = None
    retries: int = Field(default=2, ge=0)
    retry_delay_seconds: int = Field(default=60, ge=0)
    max_active_runs: int = Field(default=1, ge=1)
    spark_submit: str = "spark-submit"
    pools: PoolSettings = PoolSettings()
    on_failure: tuple[str, ...] = ()
    on_missed_deadline: tuple[str, ...] = ()
    maintenance_schedule: str | None = "@weekly"
    wait_hours: float = Field(default=24, gt=0, description="a view waits so long for the views that it reads")

    @field_validator("start", "end")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        return _with_offset(value)

    @field_validator("on_failure", "on_missed_deadline", mode="before")
    @classmethod
    def _one_callback(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("on_failure", "on_missed_deadline")
    @classmethod
    def _callback_paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [path for path in value if not _CALLBACK.fullmatch(path)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no path; write it as package.module:function")
        return value


class BackfillSettings(_Section):
    """How many chunks of a backfill are built at once: by default, and at most."""

    parallel: int = Field(default=1, ge=1)
    max_parallel: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _default_is_allowed(self) -> "BackfillSettings":
        if self.parallel > self.max_parallel:
            raise ValueError(f"parallel={self.parallel} is more than max_parallel={self.max_parallel}")
        return self


class MaintenanceSettings(_Section):
    """When logs are rewritten and their old files deleted; see docs/maintenance.md."""

    vacuum_hours: int = Field(
        default=168, ge=1, description="replaced files stay so long for readers that are not recorded as runs"
    )
    compact_files: int = Field(default=32, ge=1, description="compact where a log has so many files more than it needs")
    stuck_hours: int = Field(default=24, ge=1, description="a run elsewhere that has not ended by then counts as stuck")


class TrainingSetSettings(_Section):
    """A training set that a DAG extracts on a schedule, through jobs/training_set.py."""

    features: str
    spine: str = Field(description="path of the spine: Parquet, keys and event_timestamp")
    schedule: str | None = None


class Settings(_Section):
    """All settings of one environment."""

    env: str
    views: str = Field(default="features.views", pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    warehouse: str = ".state/warehouse"
    registry: str = Field(default="sqlite:///.state/registry.db", description="a SQLAlchemy URL, without a password")
    registry_password_env: str | None = None
    online: OnlineSettings = OnlineSettings()
    serving: ServingSettings = ServingSettings()
    spark: SparkSettings = SparkSettings()
    airflow: AirflowSettings = AirflowSettings()
    backfill: BackfillSettings = BackfillSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    connections: dict[str, ConnectionSettings] = Field(default_factory=dict)
    training_sets: dict[str, TrainingSetSettings] = Field(default_factory=dict)

    def registry_password(self) -> SecretStr | None:
        """The registry's password, likewise. Raises: ConfigError: the variable is not set."""
        variable = self.registry_password_env
        return None if variable is None else read_secret("registry_password_env", variable)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # A registry URL may carry a password, and settings are logged: by repr(), str() and f-strings alike.
        yield from (("env", self.env), ("registry", _without_password(self.registry)), ("warehouse", self.warehouse))


def load_settings(
    conf: str | Path = "conf", *, env: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of one environment: base, then `<env>.yaml`, then overrides with dotted names (`online.type`).

    Args:
        conf: the folder with base.yaml and an overlay for each environment.
        env: its name; None reads $FEATURES_ENV, then takes "local".
        overrides: dotted name to value; they win.

    Raises:
        ConfigError: a folder or file is missing, YAML is broken, a key is unknown or a value is out of range.
    """
    folder = Path(conf)
    name = env or os.environ.get("FEATURES_ENV") or "local"
    if not folder.is_dir():
        raise ConfigError(
            f"no configuration folder {str(folder.absolute())!r}; run from the project's root or pass --conf"
        )
    overlay = folder / f"{name}.yaml"
    if name == "base" or not overlay.exists():
        known = sorted(p.stem for p in folder.glob("*.yaml") if p.stem != "base")
        raise ConfigError(f"no environment {name!r} in {folder}; known: {', '.join(known) or 'none'}")
    merged: dict[str, Any] = {}
    for path in (folder / "base.yaml", overlay):
        merged = _merge(merged, _read(path))
    for dotted, value in (overrides or {}).items():
        *parents, leaf = dotted.split(".")
        nested: dict[str, Any] = {leaf: value}
        for parent in reversed(parents):
            nested = {parent: nested}
        merged = _merge(merged, nested)
    try:
        return Settings(env=name, **merged)
    except (ValidationError, TypeError) as exc:
        where = f"{overlay} over {folder / 'base.yaml'}" + (" and overrides" if overrides else "")
        raise ConfigError(f"{where}: {_reasons(exc)}") from exc


def _with_offset(value: datetime | None) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise ValueError("needs an offset, such as 2024-01-01T00:00:00+00:00")
    return value


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string()
    except (ArgumentError, ValueError):
        return "<not a SQLAlchemy URL>"


def read_secret(setting: str, variable: str) -> SecretStr:
    """The secret that an environment variable holds. Raises: ConfigError: it is not set."""
    if variable not in os.environ:
        raise ConfigError(f"{setting} names {variable}, which is not set in the environment")
    return SecretStr(os.environ[variable])


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError(f"{path} does not exist; every configuration folder needs one")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(exc).split())}") from exc
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    if content is None:
        return {}
    if isinstance(content, dict) and "env" in content:
        raise ConfigError(f"{path}: env: the file's name says which environment it is; remove it")
    if not isinstance(content, dict) or any(not isinstance(key, str) for key in content):
        raise ConfigError(f"{path} must hold a mapping of setting names to values, found {type(content).__name__}")
    return content


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _reasons(exc: ValidationError | TypeError) -> str:
    if isinstance(exc, TypeError):
        return str(exc)
    lines = []
    for error in exc.errors():
        where = ".".join(str(part) for part in error["loc"])
        what = "unknown setting" if error["type"] == "extra_forbidden" else error["msg"]
        lines.append(f"{where}: {what}")
    return "; ".join(lines)
