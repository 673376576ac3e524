import hashlib
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from features.embedded.jars import ensure_jars, install_delta_jars, install_jdbc_jars
from features.errors import PlatformError

Usage = namedtuple("Usage", "total used free")
WriteScript = Callable[[Path, str], Path]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def calls_of(maven: Path) -> int:
    return len(maven.read_text().splitlines())


def test_jars_are_downloaded_once_and_kept_in_the_users_cache(cache: Path, locks: Path, maven: Path) -> None:
    first = ensure_jars("delta", locks=locks)
    assert [path.name for path in first] == ["alpha_2-1.0.jar", "beta-1.0.jar"]
    assert all(path.is_relative_to(cache / "feature-platform" / "jars") for path in first)
    assert ensure_jars("delta", locks=locks) == first
    assert calls_of(maven) == 1


def test_a_damaged_cached_jar_is_downloaded_again(cache: Path, locks: Path, maven: Path) -> None:
    [_, beta] = ensure_jars("delta", locks=locks)
    beta.write_text("damaged")
    said: list[str] = []
    ensure_jars("delta", locks=locks, progress=said.append)
    assert beta.read_text() == "beta-1.0.jar"
    assert "beta-1.0.jar" in said[0]


def test_a_missing_cached_jar_is_downloaded_again(cache: Path, locks: Path, maven: Path) -> None:
    [alpha, _] = ensure_jars("delta", locks=locks)
    alpha.unlink()
    ensure_jars("delta", locks=locks)
    assert alpha.read_text() == "alpha_2-1.0.jar"


def test_a_touched_jar_that_is_whole_is_not_downloaded_again(cache: Path, locks: Path, maven: Path) -> None:
    [alpha, _] = ensure_jars("delta", locks=locks)
    os.utime(alpha, (1, 1))
    ensure_jars("delta", locks=locks)
    assert calls_of(maven) == 1


def test_a_download_with_another_checksum_is_refused_and_leaves_nothing(cache: Path, locks: Path, maven: Path) -> None:
    (locks / "delta.lock").write_text(f"org.example:beta:1.0 {sha256('another')}\n")
    with pytest.raises(PlatformError, match=r"beta-1\.0\.jar was downloaded with sha256"):
        ensure_jars("delta", locks=locks)
    assert list(cache.rglob("*.jar")) == []


def test_a_failing_download_says_why_and_what_to_do(
    cache: Path, locks: Path, maven: Path, bin_folder: Path, write_script: WriteScript
) -> None:
    write_script(bin_folder / "mvn", "echo '[ERROR] Unknown host repository.example'; exit 1")
    with pytest.raises(PlatformError, match=r"Unknown host repository\.example; check the network"):
        ensure_jars("delta", locks=locks)


def test_a_download_that_fills_the_disk_says_so(
    cache: Path, locks: Path, maven: Path, bin_folder: Path, write_script: WriteScript
) -> None:
    write_script(bin_folder / "mvn", "echo '[ERROR] copy: No space left on device'; exit 1")
    with pytest.raises(PlatformError, match="disk became full"):
        ensure_jars("delta", locks=locks)


def test_no_download_begins_on_a_nearly_full_disk(
    cache: Path, locks: Path, maven: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 10 * 2**20))
    with pytest.raises(PlatformError, match=r"10 MiB free.*needs 512"):
        ensure_jars("delta", locks=locks)
    assert not maven.exists()


def test_without_a_jdk_nothing_is_downloaded(cache: Path, locks: Path, bin_folder: Path) -> None:
    with pytest.raises(PlatformError, match="no Java"):
        ensure_jars("delta", locks=locks)


def test_a_cache_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, cache: Path, locks: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(PlatformError, match="set XDG_CACHE_HOME"):
        ensure_jars("delta", locks=locks)


def test_processes_at_once_download_once(cache: Path, locks: Path, maven: Path) -> None:
    code = "import sys, pathlib; from features.embedded.jars import ensure_jars; "
    code += "print(len(ensure_jars('delta', locks=pathlib.Path(sys.argv[1]))))"
    command = [sys.executable, "-c", code, str(locks)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in started] == ["2"] * 4
    assert calls_of(maven) == 1


def test_delta_is_put_where_spark_looks_and_survives_the_cache(
    tmp_path: Path, cache: Path, locks: Path, maven: Path
) -> None:
    spark = tmp_path / "pyspark-jars"
    spark.mkdir()
    installed = install_delta_jars(folder=spark, locks=locks)
    assert [path.parent for path in installed] == [spark, spark]
    shutil.rmtree(cache)
    assert install_delta_jars(folder=spark, locks=locks) == installed
    assert [path.read_text() for path in installed] == ["alpha_2-1.0.jar", "beta-1.0.jar"]
    assert calls_of(maven) == 1


def test_drivers_of_databases_are_put_beside_delta(
    tmp_path: Path, cache: Path, locks: Path, maven: Path, bin_folder: Path, write_script: WriteScript
) -> None:
    spark = tmp_path / "pyspark-jars"
    spark.mkdir()
    delta = install_delta_jars(folder=spark, locks=locks)
    (locks / "jdbc.lock").write_text(f"org.example:driver:1.0 {sha256('driver')}\n")
    mvn = 'for a in "$@"; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done; '
    mvn += "printf driver > $out/driver-1.0.jar"
    write_script(bin_folder / "mvn", mvn)
    (driver,) = install_jdbc_jars(folder=spark, locks=locks)
    assert {path.name for path in spark.glob("*.jar")} == {path.name for path in (*delta, driver)}
    driver.unlink()
    install_jdbc_jars(folder=spark, locks=locks)
    assert install_delta_jars(folder=spark, locks=locks) == delta
    assert driver.exists()


def test_an_installed_jar_that_was_lost_or_damaged_comes_back(
    tmp_path: Path, cache: Path, locks: Path, maven: Path
) -> None:
    spark = tmp_path / "pyspark-jars"
    spark.mkdir()
    [alpha, beta] = install_delta_jars(folder=spark, locks=locks)
    alpha.unlink()
    beta.write_text("damaged")
    install_delta_jars(folder=spark, locks=locks)
    assert [alpha.read_text(), beta.read_text()] == ["alpha_2-1.0.jar", "beta-1.0.jar"]


def test_an_older_version_that_was_installed_is_removed_and_nothing_else(
    tmp_path: Path, cache: Path, locks: Path, maven: Path, bin_folder: Path, write_script: WriteScript
) -> None:
    spark = tmp_path / "pyspark-jars"
    spark.mkdir()
    (spark / "spark-core.jar").write_text("spark")
    (spark / "beta-addon-1.0.jar").write_text("another artifact")
    install_delta_jars(folder=spark, locks=locks)
    (locks / "delta.lock").write_text(f"org.example:beta:2.0 {sha256('two')}\n")
    mvn = 'for a in "$@"; do case $a in -DoutputDirectory=*) out=${a#*=};; esac; done; printf two > $out/beta-2.0.jar'
    write_script(bin_folder / "mvn", mvn)
    install_delta_jars(folder=spark, locks=locks)
    assert sorted(path.name for path in spark.glob("*.jar")) == ["beta-2.0.jar", "beta-addon-1.0.jar", "spark-core.jar"]


def test_another_delta_that_somebody_put_there_is_named_not_deleted(
    tmp_path: Path, cache: Path, locks: Path, maven: Path
) -> None:
    spark = tmp_path / "pyspark-jars"
    spark.mkdir()
    foreign = spark / "alpha_3-9.9.jar"
    foreign.write_text("foreign")
    with pytest.raises(PlatformError, match=r"alpha_3-9\.9\.jar is another version"):
        install_delta_jars(folder=spark, locks=locks)
    assert foreign.exists()
