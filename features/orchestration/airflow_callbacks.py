"""What Airflow calls when a run fails, or is not done in time: functions and notifiers by their paths.

A path is imported when it is called, never while DAG files are parsed.
"""

import asyncio
import importlib
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.sdk import BaseNotifier

from features.errors import ConfigError

MISSED_DEADLINE = f"{__name__}.tell_of_missed_deadline"


@dataclass(frozen=True, slots=True)
class Callback:
    """Calls what a path names with Airflow's context; its own name is that of the path, in Airflow's log."""

    path: str

    def __call__(self, context: Mapping[str, Any]) -> None:
        """Call it. Raises: ConfigError: there is nothing at the path."""
        _resolve(self.path)(context)


def check_paths(paths: Sequence[str], setting: str) -> None:
    """Refuse a path whose package is not installed here; nothing is imported.

    Raises: ConfigError.
    """
    for path in paths:
        package = path.partition(":")[0].partition(".")[0]
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"{setting}: there is no package {package!r} for {path!r} in Airflow's environment; install it, or put "
                "it into Airflow's plugins folder"
            )


async def tell_of_missed_deadline(context: Mapping[str, Any], paths: Sequence[str]) -> None:
    """Call what is at each path, of a run whose values are not online when they were expected.

    Runs that were made after that moment, by catch-up, a backfill or a person, are not late: nothing is called.

    Args:
        context: what Airflow tells of the run and of the deadline.
        paths: of functions, of coroutine functions, or of notifiers.

    Raises:
        ExceptionGroup: what some of them raised, a ConfigError where there is nothing at a path; all were called.
    """
    made = _instant((context.get("dag_run") or {}).get("queued_at"))
    expected = _instant((context.get("deadline") or {}).get("deadline_time"))
    if made is not None and expected is not None and made > expected:
        return
    failed = []
    for path in paths:
        try:
            await _tell(path, context)
        except Exception as exc:  # noqa: BLE001 - boundary: code of others; one that is broken silences no other
            failed.append(exc)
    if failed:
        raise ExceptionGroup("airflow.on_missed_deadline", failed)


async def _tell(path: str, context: Mapping[str, Any]) -> None:
    target = _resolve(path)
    if isinstance(target, BaseNotifier) and type(target).async_notify is not BaseNotifier.async_notify:
        await target.async_notify(context)  # type: ignore[arg-type]  # it has fewer keys
    elif inspect.iscoroutinefunction(target):
        await target(context)
    else:
        await asyncio.to_thread(target, context)


def _resolve(path: str) -> Any:
    module, _, names = path.partition(":")
    try:
        target: Any = importlib.import_module(module)
        for name in names.split("."):
            target = getattr(target, name)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(
            f"{path!r} cannot be called: {exc}; correct airflow.on_failure or on_missed_deadline"
        ) from exc
    # A notifier's class stands for one that is made without arguments.
    return target() if inspect.isclass(target) else target


def _instant(value: object) -> datetime | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value if isinstance(value, datetime) else None
