"""A project for each test of DAGs, and one Airflow home for all of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.dags.projects import AirflowHome, Project, make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    home = AirflowHome(home=tmp_path_factory.mktemp("airflow"))
    program = Path(sys.executable).with_name("airflow")
    command = [str(program), "db", "migrate"]
    subprocess.run(command, env=dict(home.environment()), capture_output=True, check=True)
    return home
