"""What tells the folder of a save that was killed from that of one that runs: real files, real locks."""

import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import StorageError
from features.training.save_marks import MARK, marked, remove_leftovers

KILLED = """
import os, signal, sys
from features.training.save_marks import marked
with marked(sys.argv[1]):
    os.makedirs(sys.argv[1] + "/data")
    open(sys.argv[1] + "/data/part-1.parquet", "wb").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_save(folder: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert killed.returncode == -9
    assert (folder / "data" / "part-1.parquet").exists()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_folder_of_a_killed_save_is_removed(tmp_path: Path, scheme: str) -> None:
    kill_a_save(tmp_path / "dead")

    remove_leftovers(f"{scheme}{tmp_path}")

    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_save_that_runs_stays_until_it_has_ended_and_after(tmp_path: Path) -> None:
    running = tmp_path / "running"
    with marked(str(running)):
        (running / "data").mkdir()
        remove_leftovers(str(tmp_path))
        assert (running / "data").is_dir()

    remove_leftovers(str(tmp_path))

    assert [path.name for path in running.iterdir()] == ["data"]


def test_the_folder_of_a_save_that_failed_and_could_not_tidy_is_removed_by_the_next(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), marked(str(tmp_path / "failed")):
        raise RuntimeError

    remove_leftovers(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("boot", ["", "2f0c9b0e-0000-4000-8000-000000000000"])
def test_a_mark_of_another_machine_or_boot_or_one_that_says_nothing_is_left_alone(tmp_path: Path, boot: str) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / MARK).write_text(boot)

    remove_leftovers(str(tmp_path))

    assert (foreign / MARK).read_text() == boot


def test_folders_without_a_mark_and_stores_without_locks_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "saved" / "data").mkdir(parents=True)

    remove_leftovers(str(tmp_path))
    remove_leftovers(str(tmp_path / "nowhere"))
    remove_leftovers("s3://features/warehouse/training_sets/delays")
    with marked("s3://features/warehouse/training_sets/delays/1"):
        pass

    assert (tmp_path / "saved" / "data").is_dir()


def test_a_mark_that_cannot_be_removed_fails_the_save_since_it_would_cost_the_set(tmp_path: Path) -> None:
    folder = tmp_path / "save"
    with pytest.raises(StorageError, match=r"cannot tidy .*save it again"), marked(str(folder)):
        (folder / MARK).unlink()


def test_what_cannot_be_removed_stays_and_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "odd" / MARK).mkdir(parents=True)
    kill_a_save(tmp_path / "dead")

    remove_leftovers(str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["odd"]
    assert [record.message for record in caplog.records] == ["what a killed save left stays"]
