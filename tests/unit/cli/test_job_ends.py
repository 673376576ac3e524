"""How a job tells its end to what started it; those here end before Spark starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from features.core.discovery import Definitions
from features.core.job_end import END_FILE
from features.core.schedule import Interval
from features.registry import IntervalOutcome, Registry
from jobs import materialize
from tests.builders import at, make_view, payments_source
from tests.projects import PACKAGE, Project

DAY = ("--start", "2024-01-02T00:00:00+00:00", "--end", "2024-01-03T00:00:00+00:00")


@pytest.fixture
def end_file(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = in_tmp / "end.json"
    monkeypatch.setenv(END_FILE, str(path))
    return path


def error_of(end_file: Path) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(end_file.read_text(encoding="utf-8"))["error"]
    return error


def test_a_view_that_was_removed_while_its_dag_ran_is_told_and_not_retried(project: Project, end_file: Path) -> None:
    with Registry.open(f"sqlite:///{project.folder}/.state/registry.db") as registry:
        registry.apply(Definitions(views={"gone": make_view(name="gone")}, services={}))
    project.run("apply")
    assert materialize.main(["--view", "gone@1", *DAY]) == 2
    error = error_of(end_file)
    assert (error["type"], error["retry"]) == ("NotFoundError", False)
    assert "no feature view 'gone'; known: " in error["message"]
    with Registry.open(f"sqlite:///{project.folder}/.state/registry.db") as registry:
        assert registry.runs(registry.view("gone@1")) == ()
    assert not (project.folder / ".state/warehouse").exists()


def test_a_view_that_never_was_is_told_with_a_near_match(project: Project, end_file: Path) -> None:
    project.run("apply")
    assert materialize.main(["--view", "last_paiment@1", *DAY]) == 2
    error = error_of(end_file)
    assert (error["type"], error["retry"]) == ("NotFoundError", False)
    assert "did you mean 'last_payment'?" in error["message"]


def test_a_view_that_was_renamed_in_code_alone_is_told_and_not_retried(project: Project, end_file: Path) -> None:
    with Registry.open(f"sqlite:///{project.folder}/.state/registry.db") as registry:
        view = make_view(name="first_payment")
        registry.apply(Definitions(views={view.name: view}, services={}))
    assert materialize.main(["--view", "first_payment@1", *DAY]) == 2
    error = error_of(end_file)
    assert (error["type"], error["retry"]) == ("NotFoundError", False)
    assert "first_payment" in error["message"]


def test_code_that_was_not_applied_is_told_and_not_retried(project: Project, end_file: Path) -> None:
    with Registry.open(f"sqlite:///{project.folder}/.state/registry.db") as registry:
        view = make_view(name="last_payment", schedule="@hourly")
        registry.apply(Definitions(views={view.name: view}, services={}))
    assert materialize.main(["--view", "last_payment@1", *DAY]) == 1
    error = error_of(end_file)
    assert (error["type"], error["retry"]) == ("StaleCodeError", False)
    assert "features apply" in error["message"]


def test_a_registry_that_does_not_answer_is_retried(project: Project, end_file: Path) -> None:
    with (project.folder / "conf/local.yaml").open("w", encoding="utf-8") as conf:
        conf.write("registry: postgresql+psycopg://features@127.0.0.1:1/features?connect_timeout=2\n")
    assert materialize.main(["--view", "last_payment@1", *DAY]) == 1
    error = error_of(end_file)
    assert (error["type"], error["retry"]) == ("RegistryError", True)
    assert "127.0.0.1:1" in error["message"]


def test_a_password_that_is_not_set_is_told_and_not_retried(project: Project, end_file: Path) -> None:
    with (project.folder / "conf/local.yaml").open("w", encoding="utf-8") as conf:
        conf.write("registry_password_env: NO_SUCH_VARIABLE\n")
    assert materialize.main(["--view", "last_payment@1", *DAY]) == 2
    error = error_of(end_file)
    assert (error["type"], error["retry"]) == ("ConfigError", False)
    assert "NO_SUCH_VARIABLE" in error["message"]


def test_in_order_refuses_to_read_back_into_a_refused_interval(project: Project, end_file: Path) -> None:
    with Registry.open(f"sqlite:///{project.folder}/.state/registry.db") as registry:
        view = make_view(sources=[payments_source(history=at("2024-01-02") - at("2024-01-01"))])
        registry.apply(Definitions(views={view.name: view}, services={}))
        applied, day = registry.view(view.name), Interval(at("2024-01-01"), at("2024-01-02"))
        run = registry.start_run(kind="build", view=applied, start=day.start, end=day.end, now=day.end)
        registry.record_intervals(applied, run, [IntervalOutcome(interval=day, status="refused")])
    assert materialize.main(["--view", "last_payment@1", *DAY, "--in-order"]) == 1
    error = error_of(end_file)
    assert (error["type"], error["retry"]) == ("RefusedError", False)
    assert "[2024-01-01T00:00:00+00:00, 2024-01-02T00:00:00+00:00), whose last run was refused" in error["message"]


def test_an_end_that_cannot_be_written_changes_no_exit_code(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(END_FILE, str(project.folder / "no/such/folder/end.json"))
    assert materialize.main(["--view", f"{PACKAGE}@1", *DAY]) == 2
    assert "the end of the job cannot be written" in project.capsys.readouterr().err
