"""How much `features serve` takes on, and who may ask it."""

from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator

from features.config.section import Section, with_offset


class ServingKey(Section):
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
        return with_offset(value)


class ServingSettings(Section):
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
