"""All settings of one environment, from conf/."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, SecretStr, ValidationError

from features.config.airflow import AirflowSettings
from features.config.batch import (
    BackfillSettings,
    ConnectionSettings,
    MaintenanceSettings,
    SparkSettings,
    TrainingSetSettings,
)
from features.config.online import OnlineSettings
from features.config.section import Section, read_secret
from features.config.serving import ServingSettings
from features.errors import ConfigError


class Settings(Section):
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


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string()
    except (ArgumentError, ValueError):
        return "<not a SQLAlchemy URL>"


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
