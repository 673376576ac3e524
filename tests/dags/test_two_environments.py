"""Airflow in an environment of its own, without Spark or any driver; the jobs in another."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from features.embedded.jars import install_delta_jars
from features.embedded.spark_conf import install_spark_conf, link_spark_home
from tests.dags.projects import DAGS, AirflowHome
from tests.projects import make_project

pytestmark = [pytest.mark.spark, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]
JOBS = Path(sys.prefix)
VENDORS = ("pyspark", "delta", "cassandra", "great_expectations", "pyarrow", "pandas", "numpy")


@pytest.fixture(scope="module")
def airflow_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what the extra `airflow` brings, at the locked versions."""
    folder = tmp_path_factory.mktemp("environments") / "airflow"
    uv, python = str(JOBS / "bin/uv"), str(folder / "bin/python")
    needed = [Requirement(text) for text in importlib.metadata.requires("feature-platform") or ()]
    wanted = [
        f"{need.name}[{','.join(need.extras)}]{need.specifier}" if need.extras else f"{need.name}{need.specifier}"
        for need in needed
        if need.marker is None or need.marker.evaluate({"extra": "airflow"})
    ]
    locked = ["--constraint", str(ROOT / "requirements/dev.txt")]
    for command in ([uv, "venv", str(folder)], [uv, "pip", "install", "--python", python, *locked, *wanted]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


def test_airflow_parses_and_runs_without_the_dependencies_of_jobs(
    airflow_alone: Path, airflow_home: AirflowHome, tmp_path: Path
) -> None:
    install_delta_jars()
    install_spark_conf()
    link_spark_home()
    make_project(tmp_path)
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    spark_submit = JOBS / "bin/spark-submit"
    (tmp_path / "conf/local.yaml").write_text(
        f"airflow: {{spark_submit: {spark_submit}, retries: 0}}\n", encoding="utf-8"
    )
    environment = {
        **airflow_home.environment(),
        "FEATURES_CONF": str(tmp_path / "conf"),
        "FEATURES_ENV": "local",
        # This project, which both environments have; the views package only where jobs run would do as well.
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
        "PYSPARK_PYTHON": str(JOBS / "bin/python"),
    }

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    python = str(airflow_alone / "bin/python")
    found = f"import importlib.util as u; print([name for name in {VENDORS} if u.find_spec(name)])"
    assert run(python, "-c", found).strip() == "[]"
    run(str(JOBS / "bin/features"), "apply")
    described = tmp_path / "dags.json"
    run(python, str(Path(__file__).with_name("describe_dags.py")), str(DAGS), str(described))
    read = json.loads(described.read_text(encoding="utf-8"))
    assert read["errors"] == {}
    assert {"last_payment", "payment_once", "maintenance"} <= set(read["dags"])
    log = run(str(airflow_alone / "bin/airflow"), "dags", "test", "last_payment", "2024-01-02T00:00:00+00:00")
    assert "transformed view=last_payment@1 rows_in=4 rows=2" in log
    assert "judged view=last_payment@1 rows_in=2 rows=2 quarantined=0 seconds=" in log
    assert "last_payment@1 is published: {'view': 'last_payment@1', 'start': '2024-01-01T00:00:00+00:00'" in log
    assert "'delta_version': 0" in log
