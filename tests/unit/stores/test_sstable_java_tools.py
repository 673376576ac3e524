"""The program that writes SSTables, as far as neither Java nor Cassandra is needed."""

from pathlib import Path

import pytest

from features.errors import PlatformError
from features.stores.sstables import java_tools
from features.stores.sstables.java_tools import JavaHome, writer_command


def test_a_compiler_that_does_not_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "java"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    java = JavaHome(executable=slow, build="slow", jars=(tmp_path / "ecj-4.jar",), cache=tmp_path / "cache")
    monkeypatch.setattr(java_tools, "_COMPILE_SECONDS", 0.05)
    with pytest.raises(PlatformError, match=r"not compiled within 0\.05 s; .*online\.load\.path to cql"):
        writer_command(java, heap_mb=64, rehearse=lambda _: None)
    assert not list((tmp_path / "cache").glob("sstable-writer-*"))
