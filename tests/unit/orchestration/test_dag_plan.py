"""Plans: pure functions of applied views and settings."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from features import BatchSource, DType, Entity, Expect, Feature, ViewSource
from features.config import Settings
from features.core.applied import AppliedView
from features.errors import ConfigError, DefinitionError
from features.orchestration.dag_plan import DagPlan, Upstream
from features.orchestration.plan import maintenance_dags, training_set_dags, view_dags

BOUNDED = {"start": "2013-03-07T00:00:00+00:00", "end": "2013-03-12T00:00:00+00:00"}


def applied(**changes: Any) -> AppliedView:
    content: dict[str, Any] = {
        "name": "carrier_delay",
        "version": 2,
        "definition_hash": "0123456789abcdef",
        "entities": (Entity(name="carrier", join_keys={"carrier": DType.STRING}),),
        "sources": (BatchSource(name="flights", path="data/flights", format="parquet", timestamp_field="landed_at"),),
        "features": (
            Feature(
                "mean_delay_24h",
                DType.FLOAT64,
                unit="minutes",
                description="late | early",
                expect=[Expect.between(-120, 2000)],
            ),
        ),
        "lookback": timedelta(days=2),
        "schedule": "@daily",
        "delay": timedelta(minutes=30),
        "description": "How late a carrier is.",
        "owner": "team@example.com",
    }
    return AppliedView(**(content | changes))


def settings(*, training_sets: dict[str, Any] | None = None, **airflow: Any) -> Settings:
    return Settings(env="local", airflow=airflow, training_sets=training_sets or {})


def plan_of(view: AppliedView, **airflow: Any) -> DagPlan:
    (plan,) = view_dags([view], settings(**airflow))
    return plan


def command_of(view: AppliedView, **airflow: Any) -> tuple[str, ...]:
    (task,) = plan_of(view, **airflow).tasks
    return task.command


def test_planning_imports_no_airflow_and_no_spark() -> None:
    code = (
        "import sys, features.orchestration.plan;"
        "print(*({'airflow', 'pyspark', 'sqlalchemy', 'cassandra'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_command_is_one_that_a_person_could_type() -> None:
    assert command_of(applied(), **BOUNDED) == (
        "spark-submit",
        "jobs/materialize.py",
        *("--view", "carrier_delay@2"),
        *("--start", "{{ params.start or data_interval_start | ts }}"),
        *("--end", "{{ params.end or data_interval_end | ts }}"),
        *("--conf", "conf", "--env", "local"),
    )


def test_dag_is_named_as_its_view_and_has_the_settings_of_the_environment() -> None:
    plan = plan_of(applied(tags={"domain": "flights"}), retries=3, retry_delay_seconds=7, max_active_runs=4, **BOUNDED)
    assert (plan.dag_id, plan.cron, plan.owner) == ("carrier_delay", "0 0 * * *", "team@example.com")
    assert (plan.retries, plan.retry_delay, plan.max_active_runs) == (3, timedelta(seconds=7), 4)
    assert plan.tags == ("feature-view", "domain:flights")
    assert plan.env == {"FEATURES_ENV": "local"}


def test_tag_that_airflow_would_refuse_is_left_out() -> None:
    assert plan_of(applied(tags={"why": "x" * 100})).tags == ("feature-view",)


def test_spark_submit_may_carry_options_with_spaces() -> None:
    (task,) = plan_of(applied(), spark_submit="'/opt/my spark/bin/spark-submit' --master yarn", **BOUNDED).tasks
    assert task.command[:3] == ("/opt/my spark/bin/spark-submit", "--master", "yarn")
    assert task.shell_command.startswith("'/opt/my spark/bin/spark-submit' --master yarn jobs/materialize.py")


@pytest.mark.parametrize("command", ["", "spark-submit 'unclosed"])
def test_spark_submit_that_is_no_command_is_refused(command: str) -> None:
    with pytest.raises(ConfigError, match=r"airflow\.spark_submit"):
        plan_of(applied(), spark_submit=command)


def test_reprocess_is_passed_only_where_the_view_asks_for_it() -> None:
    assert "--reprocess" not in command_of(applied())
    command = command_of(applied(reprocess=3))
    assert command[command.index("--reprocess") + 1] == "3"


@pytest.mark.parametrize(
    ("schedule", "end", "last_start"),
    [
        ("@daily", "2013-03-12T00:00:00+00:00", datetime(2013, 3, 11, tzinfo=UTC)),
        ("@daily", "2013-03-12T23:59:00+00:00", datetime(2013, 3, 11, tzinfo=UTC)),
        ("@hourly", "2013-03-12T00:00:00+00:00", datetime(2013, 3, 11, 23, tzinfo=UTC)),
        ("0 */6 * * *", "2013-03-12T07:00:00+00:00", datetime(2013, 3, 12, tzinfo=UTC)),
    ],
)
def test_no_interval_ends_after_the_end(schedule: str, end: str, last_start: datetime) -> None:
    assert plan_of(applied(schedule=schedule), start=BOUNDED["start"], end=end).last_start == last_start


def test_bounds_are_instants_whatever_their_offset() -> None:
    plan = plan_of(applied(), start="2013-03-07T02:00:00+02:00", end="2013-03-11T20:00:00-04:00")
    assert plan.start == datetime(2013, 3, 7, tzinfo=UTC)
    assert plan.last_start == datetime(2013, 3, 11, tzinfo=UTC)
    assert plan.catchup


def test_end_before_start_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"airflow\.end .* is not after"):
        plan_of(applied(), start=BOUNDED["end"], end=BOUNDED["start"])


def test_without_a_start_nothing_is_caught_up() -> None:
    plan = plan_of(applied())
    assert (plan.start, plan.end, plan.catchup) == (None, None, False)


def test_view_without_schedule_is_triggered_by_hand_with_a_range() -> None:
    plan = plan_of(applied(schedule=None), **BOUNDED)
    assert (plan.cron, plan.start, plan.last_start, plan.catchup) == (None, None, None, False)
    assert plan.range_params
    assert plan.deadline is None


def test_two_versions_of_one_view_are_refused() -> None:
    with pytest.raises(DefinitionError, match="carrier_delay@1 and carrier_delay@2 would both be DAG"):
        view_dags([applied(version=1), applied(version=2)], settings())


def test_doc_shows_features_with_units_and_a_command_to_copy() -> None:
    doc = plan_of(applied(), **BOUNDED).doc
    assert doc.startswith("How late a carrier is.\n")
    assert r"| mean_delay_24h | float64 | minutes | late \| early | between(-120, 2000) (refuse) |" in doc
    assert "`data/flights` (parquet)" in doc
    assert (
        "spark-submit jobs/materialize.py --view carrier_delay@2 --start <start> --end <end> --conf conf --env local"
        in doc
    )


def test_training_set_never_catches_up() -> None:
    wanted = {"daily": {"features": "delay_model", "spine": "data/my spine", "schedule": "@daily"}}
    (plan,) = training_set_dags(settings(training_sets=wanted, **BOUNDED))
    assert (plan.dag_id, plan.cron, plan.catchup) == ("training_set__daily", "0 0 * * *", False)
    assert plan.tasks[0].shell_command == (
        "spark-submit jobs/training_set.py --name daily --features delay_model --spine 'data/my spine'"
        " --conf conf --env local"
    )


@pytest.mark.parametrize(
    ("name", "schedule", "told"),
    [("a b", None, "'a b'"), ("daily", "every day", r"training_sets\.daily\.schedule")],
)
def test_training_set_that_cannot_be_a_dag_is_refused(name: str, schedule: str | None, told: str) -> None:
    wanted = {name: {"features": "delay_model", "spine": "spine", "schedule": schedule}}
    with pytest.raises(ConfigError, match=told):
        training_set_dags(settings(training_sets=wanted))


def test_runs_that_read_back_into_each_others_intervals_go_in_order_one_by_one() -> None:
    source = BatchSource(
        name="flights", path="x", format="parquet", timestamp_field="landed_at", history=timedelta(days=1)
    )
    plan = plan_of(applied(sources=(source,)), max_active_runs=4)
    assert plan.max_active_runs == 1
    assert "--in-order" in plan.tasks[0].command
    assert "--in-order" not in command_of(applied())
    assert "--in-order" not in command_of(applied(sources=(source,), schedule=None))


def test_loads_are_tasks_of_their_own_only_where_they_have_a_pool() -> None:
    one = plan_of(applied(), pools={"spark": "spark"}).tasks
    assert [(task.task_id, task.pool, task.builds) for task in one] == [("materialize", "spark", True)]
    build, load = plan_of(applied(), pools={"spark": "spark", "cassandra": "online"}).tasks
    assert [(task.task_id, task.pool, task.builds) for task in (build, load)] == [
        ("build", "spark", True),
        ("load", "online", False),
    ]
    assert "--no-load" in build.command
    assert load.shell_command == "spark-submit jobs/load.py --view carrier_delay@2 --conf conf --env local"


def test_deadline_is_the_end_of_the_interval_and_the_delay_where_someone_asked_for_it() -> None:
    assert plan_of(applied()).deadline is None
    told = {"on_missed_deadline": "alerts.pager:late"}
    assert plan_of(applied(), **told).deadline == timedelta(days=1, minutes=30)
    assert plan_of(applied(schedule="0 0 1 * *"), **told).deadline == timedelta(days=31, minutes=30)
    assert plan_of(applied(schedule=None), **told).deadline is None


@pytest.mark.parametrize("path", ["alerts.pager", "alerts:pager:late", "alerts/pager:late", "alerts.pager:late()"])
def test_callback_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=r"package\.module:function"):
        settings(on_failure=path)


def test_maintenance_is_one_dag_of_all_views_that_may_be_left_out() -> None:
    (plan,) = maintenance_dags(settings(maintenance_schedule="@daily", pools={"spark": "spark"}, **BOUNDED))
    assert (plan.dag_id, plan.cron, plan.catchup, plan.view) == ("maintenance", "0 0 * * *", False, None)
    assert (plan.start, plan.last_start) == (None, None)
    (task,) = plan.tasks
    assert task.shell_command == "spark-submit jobs/maintain.py --conf conf --env local"
    assert (task.pool, task.builds) == ("spark", False)
    assert maintenance_dags(settings(maintenance_schedule=None)) == ()
    with pytest.raises(ConfigError, match=r"airflow\.maintenance_schedule"):
        maintenance_dags(settings(maintenance_schedule="now and then"))


def test_view_waits_for_the_views_that_it_reads_by_their_own_schedules_and_as_far_back_as_it_reads() -> None:
    reader = applied(
        name="reader",
        sources=(
            ViewSource(name="delays", view="carrier_delay@2", history=timedelta(days=3)),
            ViewSource(name="other", view="weather@1"),
        ),
    )
    hourly = applied(name="weather", version=1, schedule="@hourly")
    *_, plan = view_dags([applied(), hourly, reader], settings(wait_hours=2))
    assert plan.upstreams == (
        Upstream(reference="carrier_delay@2", cron="0 0 * * *", history=timedelta(days=3)),
        Upstream(reference="weather@1", cron="0 * * * *"),
    )
    assert plan.wait == timedelta(hours=2)
    assert "--upstream carrier_delay@2=<delta version> --upstream weather@1=<delta version>" in plan.doc
