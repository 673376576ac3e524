"""The demo's edges: what it says where it cannot run, and that stopping what never ran is fine."""

from datetime import timedelta
from pathlib import Path

import pytest

from features.config import AirflowSettings, Settings
from features.demo.run import main, span_of
from features.demo.runs import airflow_home, airflow_homes
from features.errors import ConfigError
from tests.builders import at


def test_history_is_backfilled_up_to_the_first_day_of_airflow() -> None:
    airflow = AirflowSettings(start=at("2013-03-07"), end=at("2013-03-11"))
    span = span_of(Settings(env="local", airflow=airflow))
    assert (span.start, span.end) == (at("2013-03-07"), at("2013-03-11"))
    assert span.start - span.history == timedelta(days=14)


def test_days_without_an_end_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"airflow\.end"):
        span_of(Settings(env="local", airflow=AirflowSettings(start=at("2013-03-07"))))


@pytest.mark.usefixtures("in_tmp")
def test_outside_the_project_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: no configuration folder")
    assert told.count("\n") == 1


def test_clean_removes_the_state_of_a_demo_that_never_ran(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_tmp / "conf").mkdir()
    (in_tmp / "conf" / "base.yaml").write_text("", encoding="utf-8")
    (in_tmp / "conf" / "local.yaml").write_text("online: {embedded: true}\n", encoding="utf-8")
    (in_tmp / ".state" / "demo").mkdir(parents=True)
    assert main(["--clean"]) == 0
    assert not (in_tmp / ".state").exists()
    assert "removed" in capsys.readouterr().out


def test_each_environment_has_an_airflow_of_its_own_and_stop_knows_all(in_tmp: Path) -> None:
    homes = [airflow_home(Settings(env=env)) for env in ("cluster", "local")]
    assert homes == [Path(".state/airflow-cluster"), Path(".state/airflow")]
    assert airflow_homes() == ()
    for home in homes:
        home.mkdir(parents=True)
    assert set(airflow_homes()) == set(homes)
