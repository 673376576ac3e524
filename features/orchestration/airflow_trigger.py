"""What a deferred task sleeps in: it wakes when a run of another DAG has succeeded, or a while has passed.

A trigger can count the runs of a DAG, but cannot read asset events: those the task looks at, once it is awake.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

POLL_SECONDS = 5.0
# A run that was cleared and is done again leaves the count as it was; what was built without Airflow never counts.
LOOK_SECONDS = 600.0


class UpstreamTrigger(BaseTrigger):
    """Fires once: when the number of succeeded runs of any of these DAGs has changed, after ten minutes, or at `until`.

    Args:
        seen: DAG to the number of its succeeded runs when the task looked.
        until: ISO, with an offset.
        poll_seconds, look_seconds: between counts, and until it fires in any case.
    """

    def __init__(
        self,
        *,
        seen: Mapping[str, int],
        until: str,
        poll_seconds: float = POLL_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = dict(seen)
        self.until = until
        self.poll_seconds = poll_seconds
        self.look_seconds = look_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """By which the triggerer makes it."""
        told = {name: getattr(self, name) for name in ("seen", "until", "poll_seconds", "look_seconds")}
        return f"{type(self).__module__}.{type(self).__qualname__}", told

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Count, sleep, and count again."""
        left = (datetime.fromisoformat(self.until) - datetime.now(UTC)).total_seconds()
        loop = asyncio.get_running_loop()
        fires_at = loop.time() + max(0.0, min(left, self.look_seconds))
        while await self._count() == self.seen and loop.time() < fires_at:
            await asyncio.sleep(min(self.poll_seconds, max(0.0, fires_at - loop.time())))
        yield TriggerEvent(sorted(self.seen))  # type: ignore[no-untyped-call]

    async def _count(self) -> dict[str, int]:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        count = sync_to_async(RuntimeTaskInstance.get_dr_count)
        return {dag_id: await count(dag_id=dag_id, states=["success"]) for dag_id in self.seen}
