"""Saves of training sets that are killed: the driver in the middle, or a task of it. Nobody ever sees half a set."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from features.errors import NotFoundError
from features.training.content_hash import table_hash
from tests.killed_saves import PATIENT, PATIENT_FEATURES, ROWS, numbered_spine
from tests.training_desk import Desk, open_desk, read

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
_ROOT = Path(__file__).parents[2]
_WAIT_SECONDS = 120.0


@pytest.fixture
def desk(spark: "SparkSession", tmp_path: Path) -> Iterator[Desk]:
    """A store that another process can open too."""
    yield from open_desk(tmp_path, views=("last",), more=PATIENT)


def test_a_killed_save_leaves_no_set_and_the_next_one_tidies_up_but_never_beside_one_that_runs(desk: Desk) -> None:
    spine = desk.folder / "spine.parquet"
    pq.write_table(numbered_spine(), spine)
    asked = desk.ask(PATIENT_FEATURES, str(spine))
    wanted = asked.save("undisturbed").content_hash
    with saving_elsewhere(desk, spine, "delays") as (save, folder, _):
        beside = asked.save("delays")
        written = list((folder / "data").glob("*.parquet"))
        assert (beside.reference, beside.content_hash, bool(written)) == ("delays@1", wanted, True)
        os.killpg(save.pid, signal.SIGKILL)
        assert save.wait(_WAIT_SECONDS) == -signal.SIGKILL
    assert [m.reference for m in desk.store.training_sets() if m.name == "delays"] == ["delays@1"]
    with pytest.raises(NotFoundError):
        desk.store.training_set("delays@2")

    again = asked.save("delays")

    assert (again.reference, again.content_hash, again.rows) == ("delays@2", wanted, ROWS)
    assert sorted(f"{path}/data" for path in folder.parent.iterdir()) == sorted([beside.path, again.path])
    assert table_hash(read(beside)) == table_hash(read(again)) == wanted


def test_rows_of_tasks_that_were_killed_or_failed_are_saved_exactly_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.killed_saves", "save_with_failing_tasks", str(tmp_path)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())

    assert {how: told["happened"] for how, told in found.items()} == dict.fromkeys(("kill", "raise", "nothing"), True)
    assert len({told["hash"] for told in found.values()}) == 1
    for told in found.values():
        assert (told["rows"], told["is_once"]) == (ROWS, True)
        assert told["sums"] == [2.0, None, None, 5.0, None, None]
        assert told["there"] == told["listed"]


@contextmanager
def saving_elsewhere(desk: Desk, spine: Path, name: str) -> Iterator[tuple["subprocess.Popen[bytes]", Path, Path]]:
    """A process amid the save of a set, the folder that it writes, and a file: while it is there, the save waits.

    One of its tasks, that of the first customer, has begun to write its file; the others have yet to read the log.
    """
    settings = desk.store.settings
    overrides = {"views": settings.views, "warehouse": str(settings.warehouse), "registry": str(settings.registry),
                 "online.type": "memory", "spark.driver_memory": "800m",
                 "spark.master": "local[1]"}  # fmt: skip
    (hold := desk.folder / "hold").touch()
    found_here = os.pathsep.join([str(desk.folder), str(_ROOT)])
    environment = {**os.environ, "PYTHONPATH": found_here, "HOLD_SAVES": str(hold)}
    log = desk.folder / "save.log"
    with log.open("wb") as out:
        save = subprocess.Popen(
            [sys.executable, "-m", "tests.killed_saves", "save", json.dumps(overrides), str(spine), name],
            env=environment, cwd=desk.folder, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _WAIT_SECONDS
        sets = desk.folder / "warehouse" / "training_sets" / name
        while not (found := list(sets.glob("*/data/*.parquet"))):
            assert save.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]  # noqa: PT018
            time.sleep(0.002)
        yield save, found[0].parents[1], hold
    finally:
        hold.unlink(missing_ok=True)
        if save.poll() is None:
            os.killpg(save.pid, signal.SIGKILL)
            save.wait(_WAIT_SECONDS)
