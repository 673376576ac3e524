from collections.abc import Callable
from pathlib import Path

import pytest

from features.embedded.jdk import find_java
from features.errors import PlatformError

MakeJava = Callable[..., Path]
WriteScript = Callable[[Path, str], Path]


def test_java_on_path_is_found_with_its_home_and_version(bin_folder: Path, make_java: MakeJava) -> None:
    path = make_java(bin_folder, "17.0.15")
    java = find_java()
    assert (java.version, java.path, java.home, java.build) == (17, path, bin_folder.parent, "17.0.15+6")


def test_java_home_wins_over_path(
    bin_folder: Path, make_java: MakeJava, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_java(bin_folder, "17.0.15")
    make_java(tmp_path / "jdk21" / "bin", "21.0.7")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk21"))
    assert find_java().version == 21


@pytest.mark.parametrize(("version", "major"), [("1.8.0_452", 8), ("11.0.27", 11), ("25", 25)])
def test_a_wrong_version_says_what_was_found_where_and_what_to_set(
    bin_folder: Path, make_java: MakeJava, version: str, major: int
) -> None:
    path = make_java(bin_folder, version)
    with pytest.raises(PlatformError) as raised:
        find_java()
    message = str(raised.value)
    assert f"Java {major} " in message
    assert str(path) in message
    assert "Java 17 to 21" in message
    assert "set JAVA_HOME" in message


def test_no_java_at_all_says_what_to_install(bin_folder: Path) -> None:
    with pytest.raises(PlatformError, match=r"no Java: .*install a JDK 17"):
        find_java()


def test_a_java_home_without_java_is_named(bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    with pytest.raises(PlatformError, match=r"JAVA_HOME=.*gone holds no bin/java"):
        find_java()


def test_a_java_that_does_not_work_is_quoted(bin_folder: Path, write_script: WriteScript) -> None:
    write_script(bin_folder / "java", "echo 'Unable to locate a Java Runtime.' >&2; exit 1")
    with pytest.raises(PlatformError, match="Unable to locate a Java Runtime"):
        find_java()
