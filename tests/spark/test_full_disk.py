import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.spark


def may_mount() -> bool:
    """Whether this machine lets a user mount something that nobody else sees."""
    try:
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not may_mount(), reason="unshare may not make a mount namespace here")
def test_a_build_upon_a_full_disk_is_told_publishes_nothing_and_is_run_again(tmp_path: Path) -> None:
    command = ["unshare", "-rm", sys.executable, "-m", "tests.full_disk", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])

    first, refused, second = found["told"]
    assert (first, second) == ("built", "built")
    assert refused.startswith("StorageError: cannot write the log of last_payment@1 at ")
    assert "No space left on device" in refused
    assert (found["before"], found["after"]) == (2_000, 4_000)
    assert found["ledger"] == ["built", "built"]
