"""What jobs need: Spark, databases, backfills, maintenance and training sets."""

import re

from pydantic import Field, SecretStr, field_validator, model_validator

from features.config.section import Section, read_secret


class ConnectionSettings(Section):
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


class SparkSettings(Section):
    """How jobs start Spark. `conf` holds any Spark property; `master` is left to spark-submit where it is None."""

    master: str | None = "local[2]"
    driver_memory: str = "1g"
    conf: dict[str, str] = Field(default_factory=dict)


class BackfillSettings(Section):
    """How many chunks of a backfill are built at once: by default, and at most."""

    parallel: int = Field(default=1, ge=1)
    max_parallel: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _default_is_allowed(self) -> "BackfillSettings":
        if self.parallel > self.max_parallel:
            raise ValueError(f"parallel={self.parallel} is more than max_parallel={self.max_parallel}")
        return self


class MaintenanceSettings(Section):
    """When logs are rewritten and their old files deleted; see docs/maintenance.md."""

    vacuum_hours: int = Field(
        default=168, ge=1, description="replaced files stay so long for readers that are not recorded as runs"
    )
    compact_files: int = Field(default=32, ge=1, description="compact where a log has so many files more than it needs")
    stuck_hours: int = Field(default=24, ge=1, description="a run elsewhere that has not ended by then counts as stuck")


class TrainingSetSettings(Section):
    """A training set that a DAG extracts on a schedule, through jobs/training_set.py."""

    features: str
    spine: str = Field(description="path of the spine: Parquet, keys and event_timestamp")
    schedule: str | None = None
