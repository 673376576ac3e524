"""What is packed for executors: which requirements, which Python, and what is refused."""

from pathlib import Path

import pytest

from features.embedded.packing import _point_at, _requirements, pack, submit_options
from features.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]


def test_each_requirement_comes_with_its_hashes_and_none_is_lost() -> None:
    text = (ROOT / "requirements/jobs.txt").read_text(encoding="utf-8")
    # A list: some come in a version for each Python.
    found = list(_requirements(text))
    assert {"pyspark", "py4j", "pyarrow", "psycopg", "deltalake"} <= {name for name, _ in found}
    assert all("--hash=sha256:" in block for _, block in found)
    assert sum(block.count("--hash") for _, block in found) == text.count("--hash")


def test_executors_run_the_python_of_the_archive() -> None:
    options = submit_options(Path("dist/env.tar.gz"))
    assert options[:2] == ("--archives", "dist/env.tar.gz#environment")
    assert options[3] == "spark.pyspark.python=./environment/bin/python"


def test_an_environment_goes_on_from_a_python_of_other_machines(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to("/opt/here/bin/python3.11")
    (tmp_path / "pyvenv.cfg").write_text("home = /opt/here/bin\nrelocatable = true\n", encoding="utf-8")
    _point_at(tmp_path, Path("/usr/bin/python3.11"))
    assert (tmp_path / "bin/python").readlink() == Path("/usr/bin/python3.11")
    assert (tmp_path / "pyvenv.cfg").read_text(encoding="utf-8") == "home = /usr/bin\nrelocatable = true\n"


def test_without_a_project_nothing_is_packed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing at .*setup\.cfg; run this from the project's root"):
        pack(tmp_path, tmp_path / "dist")
    with pytest.raises(UsageError, match="absolute path"):
        pack(ROOT, tmp_path / "dist", interpreter=Path("python3.11"))
    assert not (tmp_path / "dist").exists()
