"""Settings: conf/base.yaml under conf/<env>.yaml under overrides, as one frozen object that is passed down.

Secrets are never in conf: it names the environment variable that holds one (`password_env: CASSANDRA_PASSWORD`).
"""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from features.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    timeout_seconds: float = Field(default=10.0, gt=0)
    embedded: bool = Field(default=False, description="features cassandra start serves these hosts from this machine")

    @field_validator("hosts", mode="before")
    @classmethod
    def _one_host(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def password(self) -> SecretStr | None:
        """The password, read from the environment when it is needed. Raises: ConfigError: the variable is not set."""
        return _secret("online.password_env", self.password_env)


class SparkSettings(_Section):
    """How jobs start Spark. `conf` holds any Spark property; `master` is left to spark-submit where it is None."""

    master: str | None = "local[2]"
    driver_memory: str = "1g"
    conf: dict[str, str] = Field(default_factory=dict)


class AirflowSettings(_Section):
    """How views become DAGs. `start` and `end` bound the data intervals that catch-up runs; end None: no bound."""

    start: datetime | None = None
    end: datetime | None = None
    retries: int = Field(default=2, ge=0)
    retry_delay_seconds: int = Field(default=60, ge=0)
    max_active_runs: int = Field(default=1, ge=1)
    spark_submit: str = "spark-submit"

    @field_validator("start", "end")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("needs an offset, such as 2024-01-01T00:00:00+00:00")
        return value


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
    spark: SparkSettings = SparkSettings()
    airflow: AirflowSettings = AirflowSettings()
    training_sets: dict[str, TrainingSetSettings] = Field(default_factory=dict)

    def registry_password(self) -> SecretStr | None:
        """The registry's password, likewise. Raises: ConfigError: the variable is not set."""
        return _secret("registry_password_env", self.registry_password_env)

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


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string()
    except (ArgumentError, ValueError):
        return "<not a SQLAlchemy URL>"


def _secret(setting: str, variable: str | None) -> SecretStr | None:
    if variable is None:
        return None
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
