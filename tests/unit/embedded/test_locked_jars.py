from pathlib import Path

import pytest

from features.embedded.locked_jars import read_lock
from features.errors import NotFoundError, PlatformError

DIGEST = "0" * 64


def test_a_line_tells_coordinates_classifier_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "some.lock").write_text(f"# a comment\norg.example:driver:3.1:shaded {DIGEST}\n")
    [jar] = read_lock("some", tmp_path).jars
    assert (jar.group, jar.artifact, jar.version, jar.classifier, jar.sha256) == (
        "org.example", "driver", "3.1", "shaded", DIGEST,
    )  # fmt: skip
    assert jar.filename == "driver-3.1-shaded.jar"
    assert jar.line == f"org.example:driver:3.1:shaded {DIGEST}"


@pytest.mark.parametrize(
    "line",
    [
        "org.example:driver:3.1",
        f"org.example:driver {DIGEST}",
        "org.example:driver:3.1 " + "0" * 63,
        f"https://example.org/driver-3.1.jar {DIGEST}",
    ],
)
def test_a_malformed_line_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "some.lock").write_text(f"org.example:good:1 {DIGEST}\n{line}\n")
    with pytest.raises(PlatformError, match="line 2"):
        read_lock("some", tmp_path)


def test_two_jars_of_one_file_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "some.lock").write_text(f"org.a:same:1 {DIGEST}\norg.b:same:1 {DIGEST}\n")
    with pytest.raises(PlatformError, match="one file name twice"):
        read_lock("some", tmp_path)


def test_an_unknown_set_suggests_the_near_one() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'cassandra'"):
        read_lock("casandra")


def test_a_changed_lock_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "a.lock").write_text(f"org.a:same:1 {DIGEST}\n")
    (tmp_path / "b.lock").write_text(f"org.a:same:2 {DIGEST}\n")
    assert read_lock("a", tmp_path).digest != read_lock("b", tmp_path).digest


def test_the_locks_of_the_project_hold_cassandra_and_just_two_jars_of_delta() -> None:
    assert any(jar.filename == "cassandra-all-5.0.9.jar" for jar in read_lock("cassandra").jars)
    assert [jar.filename for jar in read_lock("delta").jars] == [
        "delta-spark_4.2_2.13-4.4.0.jar",
        "delta-storage-4.4.0.jar",
    ]
