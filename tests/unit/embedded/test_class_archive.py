from pathlib import Path

from features.embedded.class_archive import archive_path, jvm_options, part_path, publish, usable
from features.embedded.jdk import Java


def java(build: str) -> Java:
    return Java(home=Path("/jdk"), path=Path("/jdk/bin/java"), version=17, build=build)


def test_a_published_archive_is_usable_and_used(tmp_path: Path) -> None:
    archive = tmp_path / "classes.jsa"
    part = part_path(archive)
    part.write_bytes(b"classes")
    publish(part, archive)
    assert usable(archive)
    assert f"-XX:SharedArchiveFile={archive}" in jvm_options(archive, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.jsa", "classes.jsa.sha256"]


def test_an_archive_cut_short_is_deleted_before_the_jvm_dies_of_it(tmp_path: Path) -> None:
    archive = tmp_path / "classes.jsa"
    part = part_path(archive)
    part.write_bytes(b"classes")
    publish(part, archive)
    archive.write_bytes(b"class")
    assert not usable(archive)
    assert not archive.exists()


def test_without_an_archive_the_next_stop_makes_one(tmp_path: Path) -> None:
    archive = tmp_path / "classes.jsa"
    assert not usable(archive)
    part = part_path(archive)
    assert f"-XX:ArchiveClassesAtExit={part}" in jvm_options(archive, part)


def test_another_build_of_the_jdk_gets_another_archive() -> None:
    jars = [Path("/cache/set/a.jar")]
    assert archive_path(java("17.0.15+6"), jars) != archive_path(java("17.0.16+1"), jars)


def test_publishing_nothing_is_no_error(tmp_path: Path) -> None:
    publish(tmp_path / "gone" / "classes.jsa.1.part", tmp_path / "gone" / "classes.jsa")
    assert not (tmp_path / "gone").exists()
