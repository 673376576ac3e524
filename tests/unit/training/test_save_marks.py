"""What tells the folder of a save that was killed from that of one that runs, or is saved: real files, real locks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import RegistryError
from features.training.save_marks import MARK, marked, remove_leftovers

KILLED = """
import os, signal, sys
from features.training.save_marks import marked
with marked(sys.argv[1], registry="ours"):
    os.makedirs(sys.argv[1] + "/data")
    open(sys.argv[1] + "/data/part-1.parquet", "wb").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""
# No file may grow: what a full disk does to a mark that is written.
ON_A_FULL_DISK = """
import json, os, resource, sys
from features.training.save_marks import marked
before = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with marked(sys.argv[1], registry="ours"):
    print(json.dumps([os.listdir(sys.argv[1]), len(os.listdir("/proc/self/fd")) - before]))
"""


def run(program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program, str(folder)], check=False, capture_output=True, text=True)


def kill_a_save(folder: Path) -> None:
    assert run(KILLED, folder).returncode == -9
    assert (folder / "data" / "part-1.parquet").exists()


def tidy(folder: str | Path, *, registry: str = "ours", saved: tuple[str, ...] = ()) -> None:
    remove_leftovers(str(folder), registry=registry, is_saved=lambda name: name in saved)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_folder_of_a_killed_save_is_removed(tmp_path: Path, scheme: str) -> None:
    kill_a_save(tmp_path / "dead")

    tidy(f"{scheme}{tmp_path}")

    assert list(tmp_path.iterdir()) == []


def test_a_save_that_was_killed_once_it_had_its_manifest_loses_its_mark_alone(tmp_path: Path) -> None:
    kill_a_save(tmp_path / "saved")
    kill_a_save(tmp_path / "dead")

    for _ in range(2):
        tidy(tmp_path, saved=("saved",))

    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "saved", "saved/data", "saved/data/part-1.parquet",
    ]  # fmt: skip


def test_another_registry_on_the_same_warehouse_judges_nothing(tmp_path: Path) -> None:
    kill_a_save(tmp_path / "theirs")

    tidy(tmp_path, registry="another")

    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == [MARK, "data"]


def test_a_registry_that_cannot_be_asked_leaves_all_to_the_next_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable(_: str) -> bool:
        raise RegistryError("the registry cannot be reached")

    kill_a_save(tmp_path / "dead")
    remove_leftovers(str(tmp_path), registry="ours", is_saved=unreachable)
    assert sorted(path.name for path in (tmp_path / "dead").iterdir()) == [MARK, "data"]
    assert [record.message for record in caplog.records] == ["what a killed save left stays"]

    tidy(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_save_that_runs_stays_until_it_has_ended_and_after(tmp_path: Path) -> None:
    running = tmp_path / "running"
    with marked(str(running), registry="ours"):
        (running / "data").mkdir()
        tidy(tmp_path)
        assert (running / "data").is_dir()

    tidy(tmp_path)

    assert [path.name for path in running.iterdir()] == ["data"]


def test_the_folder_of_a_save_that_failed_and_could_not_tidy_is_removed_by_the_next(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), marked(str(tmp_path / "failed"), registry="ours"):
        raise RuntimeError

    tidy(tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("says", ["", "2f0c9b0e-0000-4000-8000-000000000000 ours\n"])
def test_a_mark_of_another_machine_or_boot_or_one_that_says_nothing_is_left_alone(tmp_path: Path, says: str) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / MARK).write_text(says)

    tidy(tmp_path)

    assert (foreign / MARK).read_text() == says


def test_folders_without_a_mark_and_stores_without_locks_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "saved" / "data").mkdir(parents=True)

    tidy(tmp_path)
    tidy(tmp_path / "nowhere")
    tidy("s3://features/warehouse/training_sets/delays")
    with marked("s3://features/warehouse/training_sets/delays/1", registry="ours"):
        pass

    assert (tmp_path / "saved" / "data").is_dir()


def test_a_mark_that_cannot_be_removed_costs_neither_the_save_nor_the_set(tmp_path: Path) -> None:
    folder = tmp_path / "save"
    before = len(os.listdir("/proc/self/fd"))
    with marked(str(folder), registry="ours"):
        (folder / MARK).unlink()
        (folder / MARK).mkdir()

    tidy(tmp_path, saved=("save",))

    assert folder.exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_mark_that_a_full_disk_does_not_take_leaves_no_file_and_no_descriptor(tmp_path: Path) -> None:
    done = run(ON_A_FULL_DISK, tmp_path / "save")
    assert json.loads(done.stdout) == [[], 0], done.stderr


def test_what_cannot_be_removed_stays_and_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "odd" / MARK).mkdir(parents=True)
    kill_a_save(tmp_path / "dead")

    tidy(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["odd"]
    assert [record.message for record in caplog.records] == ["what a killed save left stays"]
