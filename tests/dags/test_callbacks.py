"""What is called when a run fails or is late, in a process of its own, so that no test imports Airflow."""

import sys

from tests.dags.projects import AirflowHome, Project

CODE = """\
import asyncio, sys
from airflow.sdk import BaseNotifier
from features.errors import ConfigError
from features.orchestration.airflow_callbacks import Callback, tell_of_missed_deadline

sys.modules["pager"] = sys.modules["__main__"]
told = []

def late(context):
    told.append(("function", context["dag_run"]["dag_id"]))

async def later(context):
    told.append(("coroutine", context["dag_run"]["dag_id"]))

class Tell(BaseNotifier):
    def notify(self, context):
        told.append(("notifier", context["dag_run"]["dag_id"]))

class TellAsync(BaseNotifier):
    async def async_notify(self, context):
        told.append(("async notifier", context["dag_run"]["dag_id"]))

def context(queued_at):
    run = {"dag_id": "daily", "queued_at": queued_at}
    return {"dag_run": run, "deadline": {"deadline_time": "2013-03-10T00:30:00+00:00"}}

paths = ["pager:late", "pager:later", "pager:Tell", "pager:TellAsync"]
asyncio.run(tell_of_missed_deadline(context("2013-03-10T00:00:01+00:00"), paths))
print(told)
told.clear()
# Made by catch-up, long after its deadline.
asyncio.run(tell_of_missed_deadline(context("2024-01-01T00:00:00+00:00"), paths))
print(told)
try:
    asyncio.run(tell_of_missed_deadline(context("2013-03-10T00:00:01+00:00"), ["pager:nobody", "pager:late"]))
except ExceptionGroup as group:
    print(*group.exceptions, told)
told.clear()
Callback("pager:Tell")(context(None))
print(told)
for path in ("pager:nobody", "no_such_package.pager:late"):
    try:
        Callback(path)(context(None))
    except ConfigError as exc:
        print(exc)
"""


def test_functions_coroutines_and_notifiers_are_called_by_their_paths(
    airflow_home: AirflowHome, project: Project
) -> None:
    result = airflow_home.run(project, sys.executable, "-c", CODE)
    assert result.returncode == 0, result.stderr
    late, of_catch_up, one_broken, failed, nobody, no_package = result.stdout.splitlines()[-6:]
    assert late == str([(kind, "daily") for kind in ("function", "coroutine", "notifier", "async notifier")])
    assert of_catch_up == "[]"
    assert "'pager:nobody' cannot be called" in one_broken
    assert one_broken.endswith("[('function', 'daily')]")
    assert failed == "[('notifier', 'daily')]"
    assert "'pager:nobody' cannot be called" in nobody
    assert "No module named 'no_such_package'" in no_package
