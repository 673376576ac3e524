"""What `features doctor` says of the program that runs jobs."""

from pathlib import Path
from typing import Any

import pytest

from tests.projects import Project


def spark_submit(project: Project, setting: str) -> Any:
    data = project.run("doctor", "--json", "--set", f"airflow.spark_submit={setting}").data
    (check,) = (check for check in data["checks"] if check["name"] == "spark-submit")
    return check


def make_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_program_of_the_configuration_is_looked_for_without_its_options(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = make_program(project.folder / "opt" / "submit")
    told = {"name": "spark-submit", "ok": True, "found": f"{program}, of airflow.spark_submit"}
    assert spark_submit(project, f"{program} --master yarn") == told
    monkeypatch.setenv("PATH", str(program.parent))
    assert spark_submit(project, "submit --master yarn") == told


def test_relative_program_is_that_of_the_folder_in_which_runs_begin(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = make_program(project.folder / "record.sh")
    monkeypatch.setenv("FEATURES_CONF", str(project.folder / "conf"))
    (project.folder / "elsewhere").mkdir()
    monkeypatch.chdir(project.folder / "elsewhere")
    assert spark_submit(project, "./record.sh")["found"] == f"{program}, of airflow.spark_submit"


@pytest.mark.parametrize("setting", ["no-such-submit --master yarn", "/opt/no/such/submit", "conf/base.yaml"])
def test_program_that_cannot_be_run_here_is_a_problem(project: Project, setting: str) -> None:
    check = spark_submit(project, setting)
    assert not check["ok"]
    assert f"airflow.spark_submit names {setting.split()[0]}, which this machine lacks or may not run" in check["found"]


def test_setting_that_is_no_command_is_a_problem(project: Project) -> None:
    check = spark_submit(project, "''")
    assert not check["ok"]
    assert "airflow.spark_submit is empty" in check["found"]


def test_spark_submit_with_options_is_still_that_of_this_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(make_program(project.folder / "opt" / "spark-submit").parent))
    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    monkeypatch.delenv("PYSPARK_DRIVER_PYTHON", raising=False)
    check = spark_submit(project, "spark-submit --master yarn")
    assert not check["ok"]
    assert "not with this environment" in check["found"]
