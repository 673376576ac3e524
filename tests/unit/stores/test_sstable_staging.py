"""Folders of SSTables on their way: gone with their task, and with the next one where it was killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import OnlineStoreError
from features.stores.sstables.staging import _name_of_pids, remove_leftovers, staged

_HOLD = """
import sys
from features.stores.sstables.staging import staged
with staged(sys.argv[1], "ks", "t") as folder:
    (folder / "half.db").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_folder_names_keyspace_and_table_and_goes_with_its_block(tmp_path: Path) -> None:
    with staged(str(tmp_path), "ks", "t") as folder:
        assert folder.is_dir()
        assert folder.parts[-2:] == ("ks", "t")
    assert not list(folder.parent.parent.parent.iterdir())


def test_what_a_killed_task_left_goes_with_the_next_and_what_a_running_one_has_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        with staged(str(tmp_path), "ks", "t"):
            assert (left / "half.db").exists()
        other.kill()
        other.wait()
    with staged(str(tmp_path), "ks", "t"):
        assert not left.exists()


def test_folders_of_other_machines_and_of_others_stay(tmp_path: Path) -> None:
    for name in ("elsewhere~1~999999999-1-abc", "notes"):
        (tmp_path / name).mkdir()
    remove_leftovers(tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["elsewhere~1~999999999-1-abc", "notes"]


@pytest.mark.skipif(not Path("/proc/self/ns/pid").is_symlink(), reason="the system has no namespaces of pids")
def test_folders_of_another_container_with_this_host_name_stay(tmp_path: Path) -> None:
    here = _name_of_pids()
    assert here.rpartition("~")[2] != "0"
    (tmp_path / f"{here}9~999999999-1-abc").mkdir()
    (tmp_path / f"{here}~999999999-1-abc").mkdir()
    remove_leftovers(tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == [f"{here}9~999999999-1-abc"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OnlineStoreError, match=r"SSTables cannot be written below .*online\.load\.directory"),
        staged(str(tmp_path / "file"), "ks", "t"),
    ):
        pass
