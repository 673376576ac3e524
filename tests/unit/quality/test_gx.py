import subprocess
import sys
from pathlib import Path


def test_great_expectations_loads_quietly_where_there_is_no_main_file(tmp_path: Path) -> None:
    """Loaded plainly, it ends such a process with exit code 0 where grpc's packages are missing."""
    code = (
        "import os; from features.quality.gx import load_great_expectations as load; gx = load(); "
        "raise SystemExit(7 if gx is load() and os.environ['GX_ANALYTICS_ENABLED'] == 'false' else 1)"
    )
    root = str(Path(__file__).parents[3])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (7, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_module_is_loaded_beside_other_work() -> None:
    code = (
        "import sys, threading; from features.quality.gx import load_great_expectations, preload; preload(); "
        "names = [thread.name for thread in threading.enumerate()]; load_great_expectations(); preload(); "
        "print('great-expectations' in names, len(names), sys.modules.get('pyspark.sql.connect.session', 'unset'))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "2", "unset"]
