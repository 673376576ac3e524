import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.embedded.locking import try_lock
from features.embedded.processes import birth_mark, is_running, send_signal, spawn_detached


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_process_is_known_by_its_mark(sleeper: "subprocess.Popen[bytes]") -> None:
    mark = birth_mark(sleeper.pid)
    assert mark is not None
    assert is_running(sleeper.pid, mark)


def test_a_recycled_pid_is_never_signalled(sleeper: "subprocess.Popen[bytes]") -> None:
    assert not is_running(sleeper.pid, "started at another time")
    assert not send_signal(sleeper.pid, "started at another time", signal.SIGKILL)
    time.sleep(0.1)
    assert sleeper.poll() is None


def test_a_process_that_ended_does_not_run_even_before_it_is_waited_for(tmp_path: Path) -> None:
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    pid = spawn_detached(command, environment=os.environ, output=tmp_path / "out", inherit=lock)
    os.close(lock)
    mark = birth_mark(pid)
    assert mark is not None
    assert send_signal(pid, mark, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_running(pid, mark):
        assert time.monotonic() < deadline
    assert not send_signal(pid, mark, signal.SIGTERM)


def test_a_detached_process_has_its_own_session_and_keeps_the_lock_until_it_ends(tmp_path: Path) -> None:
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    command = [sys.executable, "-c", "import sys; print('said', flush=True); import time; time.sleep(60)"]
    pid = spawn_detached(command, environment=os.environ, output=tmp_path / "out", inherit=lock)
    os.close(lock)
    try:
        assert os.getsid(pid) == pid
        assert try_lock(tmp_path / "lock") is None
        deadline = time.monotonic() + 10
        while (tmp_path / "out").read_text() != "said\n":
            assert time.monotonic() < deadline
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    again = try_lock(tmp_path / "lock")
    assert again is not None
    os.close(again)
