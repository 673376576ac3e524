"""The last step of a save, where the registry fails or the process is killed: what becomes of the files."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.errors import RegistryError, UsageError
from features.registry import Registry
from features.training.save_marks import MARK, remove_leftovers
from features.training.saved import Saver, register

FULL = "CREATE TRIGGER full BEFORE INSERT ON manifests BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
# Killed before or after the registry has the manifest, in both cases before the mark is gone.
KILLED = """
import os, signal, sys
from features.registry import Registry
from features.training.save_marks import marked
from features.training.saved import register
url, folder, when = sys.argv[1:]
registry = Registry.open(url)
with marked(folder, registry=registry.identity()):
    os.mkdir(folder + "/data")
    if when == "after":
        register(registry, "delays", {"path": folder + "/data"}, folder=folder, hold=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a set."""
    found = tmp_path / "training_sets" / "delays" / "a1b2"
    (found / "data").mkdir(parents=True)
    return found


def register_in(registry: Registry, folder: Path) -> str:
    return register(registry, "delays", {"path": f"{folder}/data"}, folder=str(folder), hold=True)


def execute(registry: Registry, statement: str) -> None:
    with registry._database.write() as connection:
        connection.exec_driver_sql(statement)


def test_a_manifest_that_the_registry_takes_is_the_save(registry: Registry, folder: Path) -> None:
    assert register_in(registry, folder) == "delays@1"
    assert registry.manifest("delays@1").held
    assert (folder / "data").is_dir()


def test_files_of_a_manifest_that_the_registry_refuses_are_removed(registry: Registry, folder: Path) -> None:
    execute(registry, FULL)
    with pytest.raises(RegistryError, match="disk is full"):
        register_in(registry, folder)
    assert list(folder.parent.iterdir()) == []


def test_a_set_whose_manifest_arrived_though_the_answer_did_not_is_saved(registry: Registry, folder: Path) -> None:
    registry.save_manifest("delays", {"path": f"{folder}/data"}, hold=True)
    execute(registry, FULL)
    assert register_in(registry, folder) == "delays@1"
    assert (folder / "data").is_dir()


def test_files_stay_where_nobody_can_tell_whether_the_manifest_arrived(registry: Registry, folder: Path) -> None:
    execute(registry, "DROP TABLE manifests")
    with pytest.raises(RegistryError, match=rf"not known: its files stay at {folder}\. .*save it again"):
        register_in(registry, folder)
    assert (folder / "data").is_dir()


@pytest.mark.parametrize(("when", "is_kept"), [("before", False), ("after", True)])
def test_a_save_killed_beside_its_manifest_keeps_its_files_if_the_manifest_arrived_and_loses_them_if_not(
    registry: Registry, tmp_path: Path, when: str, is_kept: bool
) -> None:
    folder = tmp_path / "training_sets" / "delays" / "0fe1"
    command = [sys.executable, "-c", KILLED, f"sqlite:///{tmp_path / 'registry.db'}", str(folder), when]
    assert subprocess.run(command, check=False).returncode == -9
    assert (folder / MARK).exists()
    with Registry.open(f"sqlite:///{tmp_path / 'another.db'}") as another:
        tidy(another, folder.parent)
        assert sorted(path.name for path in folder.iterdir()) == [MARK, "data"]

    for _ in range(2):
        tidy(registry, folder.parent)

    assert [path.name for path in folder.parent.glob("*/*")] == (["data"] if is_kept else [])
    assert len(registry.manifests()) == is_kept


def tidy(registry: Registry, saves: Path) -> None:
    """As a save of that name begins."""
    remove_leftovers(
        str(saves), registry=registry.identity(), is_saved=lambda left: bool(registry.find_manifests([left]))
    )


@pytest.mark.parametrize("hold", ["no", 1, None])
def test_a_hold_that_is_neither_true_nor_false_is_told_before_anything_is_written(
    registry: Registry, tmp_path: Path, hold: Any
) -> None:
    rows: Any = None  # never looked at
    with pytest.raises(UsageError, match=f"hold must be True or False, got {hold!r}"):
        Saver(registry=registry, warehouse=str(tmp_path), package="views").save(rows, "delays", hold=hold)
