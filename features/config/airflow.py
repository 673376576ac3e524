"""How views become DAGs."""

import re
from datetime import datetime

from pydantic import Field, field_validator

from features.config.section import Section, with_offset

_CALLBACK = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class PoolSettings(Section):
    """Airflow's pools that tasks take slots of; None: its default. With `cassandra`, a load is a task of its own."""

    spark: str | None = None
    cassandra: str | None = None


class AirflowSettings(Section):
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
        return with_offset(value)

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
