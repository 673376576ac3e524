"""What sections of the settings share."""

import os
from datetime import datetime

from pydantic import BaseModel, ConfigDict, SecretStr

from features.errors import ConfigError


class Section(BaseModel):
    """Settings that belong together: frozen, and unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def with_offset(value: datetime | None) -> datetime | None:
    """The instant. Raises: ValueError: it is naive."""
    if value is not None and value.tzinfo is None:
        raise ValueError("needs an offset, such as 2024-01-01T00:00:00+00:00")
    return value


def read_secret(setting: str, variable: str) -> SecretStr:
    """The secret that an environment variable holds. Raises: ConfigError: it is not set."""
    if variable not in os.environ:
        raise ConfigError(f"{setting} names {variable}, which is not set in the environment")
    return SecretStr(os.environ[variable])
