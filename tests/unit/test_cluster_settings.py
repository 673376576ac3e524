"""Conf of clusters: what is shipped can be read, and what cannot be started on this machine is said to be so."""

import shlex
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from features.config import Settings, load_settings
from features.embedded.local_cluster import local_cluster
from features.errors import UsageError
from features.orchestration.plan import maintenance_dags
from features.stores.filesystems import is_native

CONF = Path(__file__).resolve().parents[2] / "conf"
EXAMPLES = sorted((CONF / "examples").glob("*.yaml"))


def changed(**changes: object) -> Settings:
    return load_settings(CONF, env="cluster", overrides=changes)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_conf_whose_jobs_and_tasks_find_their_way(example: Path, tmp_path: Path) -> None:
    for path in (CONF / "base.yaml", example):
        shutil.copy(path, tmp_path)
    settings = load_settings(tmp_path, env=example.stem)
    (dag,) = maintenance_dags(settings)
    (task,) = dag.tasks
    master = task.command[task.command.index("--master") + 1]
    assert master.partition("://")[0] in ("spark", "yarn", "k8s")
    assert is_native(settings.warehouse)
    assert settings.online.replication == len(settings.online.hosts)
    assert settings.registry_password_env is not None


def test_there_is_an_example_for_each_cluster_and_each_store() -> None:
    assert [path.stem for path in EXAMPLES] == ["kubernetes-gcs", "standalone-s3", "yarn-adls"]


def test_the_cluster_of_this_machine_is_three_nodes_two_workers_and_a_registry_without_a_secret() -> None:
    settings = changed()
    cluster = local_cluster(settings)
    assert len(cluster.cassandra.hosts) == settings.online.replication == 3
    assert (cluster.spark.workers, f"spark://127.0.0.1:{cluster.spark.port}") == (2, settings.spark.master)
    assert f"--master {settings.spark.master}" in shlex.join(shlex.split(settings.airflow.spark_submit))
    assert urlsplit(settings.registry).password is None
    assert cluster.postgresql.passfile == Path(".state/cluster/postgresql/pgpass").absolute()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("spark.master", "local[2]", "spark.master is 'local"),
        ("spark.master", "spark://spark.example.com:7077", "spark.master is 'spark://spark.example"),
        ("registry", "sqlite:///registry.db", "registry is no PostgreSQL"),
        ("registry", "postgresql://features@127.0.0.1:5432/features", "registry is no PostgreSQL"),
        ("registry", "postgresql://me@127.0.0.1:5432/features?passfile=pgpass", "user and database"),
        ("registry", "postgresql://features@127.0.0.1/features?passfile=secrets", "to be named pgpass"),
        ("online.hosts", "cassandra.example.com", "real cluster"),
    ],
)
def test_what_is_not_of_this_machine_is_not_started(name: str, value: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("[", r"\[")):
        local_cluster(changed(**{name: value}))
