from pathlib import Path

import pytest

from features.embedded.spark_conf import install_spark_conf, link_spark_home
from features.errors import PlatformError


def test_jobs_run_the_python_of_this_environment(tmp_path: Path) -> None:
    conf = install_spark_conf(folder=tmp_path, executable="/venv/bin/python")
    lines = (conf / "spark-defaults.conf").read_text().splitlines()
    assert "spark.pyspark.driver.python /venv/bin/python" in lines


def test_spark_logs_errors_without_stacks(tmp_path: Path) -> None:
    lines = (install_spark_conf(folder=tmp_path) / "log4j2.properties").read_text().splitlines()
    assert "rootLogger.level = error" in lines
    assert "appender.stderr.layout.alwaysWriteExceptions = false" in lines


def test_a_second_time_writes_only_what_changed(tmp_path: Path) -> None:
    conf = install_spark_conf(folder=tmp_path, executable="/old/python")
    unchanged = (conf / "log4j2.properties").stat().st_ino
    install_spark_conf(folder=tmp_path, executable="/new/python")
    assert "/new/python" in (conf / "spark-defaults.conf").read_text()
    assert (conf / "log4j2.properties").stat().st_ino == unchanged


def test_files_of_someone_else_stay(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "spark-defaults.conf").write_text("spark.master yarn\n")
    conf = install_spark_conf(folder=tmp_path)
    assert (conf / "spark-defaults.conf").read_text() == "spark.master yarn\n"


def test_the_link_follows_spark(tmp_path: Path) -> None:
    for version in ("old", "new", "new"):
        link = link_spark_home(home=tmp_path / version, scripts=tmp_path)
        assert link.readlink() == tmp_path / version


def test_a_link_that_is_someone_elses_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spark-distribution").mkdir()
    with pytest.raises(PlatformError, match="remove it"):
        link_spark_home(home=tmp_path / "spark", scripts=tmp_path)


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("a file where the folder should be")
    with pytest.raises(PlatformError, match="Spark's conf files"):
        install_spark_conf(folder=tmp_path)
