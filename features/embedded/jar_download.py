"""Two ways to get jars by their coordinates: Maven where it is on PATH, else the Ivy that pyspark carries.

Both run as child processes with transitive resolution off: what comes is what was asked, from where the user's
settings say.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from features.embedded.jdk import Java
from features.embedded.locked_jars import LockedJar
from features.errors import PlatformError

_TIMEOUT_SECONDS = 900
_BOILERPLATE = ("To see the full", "Re-run Maven", "For more information", "[Help")
_TELLING = ("error", "exception", "unresolved", "not found", "refused", "unknown host")
_RETRY = (
    "check the network (behind a proxy or mirror: install Maven and name it in its settings.xml), then run this again"
)


def download(jars: Sequence[LockedJar], folder: Path, *, java: Java, progress: Callable[[str], None]) -> None:
    """Puts the jars into an existing folder, under their file names. Checksums are the caller's to check.

    Raises:
        PlatformError: neither Maven nor Ivy is there, or the one used failed.
    """
    maven = shutil.which("mvn")
    if maven is not None:
        progress(f"getting {len(jars)} jars by Maven")
        by_maven(jars, folder, java=java, maven=maven)
        return
    ivy = find_ivy()
    progress(f"getting {len(jars)} jars by the Ivy in pyspark")
    by_ivy(jars, folder, java=java, ivy=ivy)


def by_maven(jars: Sequence[LockedJar], folder: Path, *, java: Java, maven: str) -> None:
    """Downloads through `mvn`, with the user's own settings, mirrors and local repository."""
    dependencies = "".join(
        f"<dependency>{_maven_coordinates(jar)}"
        "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
        for jar in jars
    )
    with tempfile.TemporaryDirectory(prefix="jars-") as work:
        Path(work, "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>features</groupId><artifactId>jars</artifactId>"
            f"<version>1</version><dependencies>{dependencies}</dependencies></project>",
            encoding="utf-8",
        )
        command = [maven, "-B", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        _run(command, cwd=work, java=java, tool="Maven")


def by_ivy(jars: Sequence[LockedJar], folder: Path, *, java: Java, ivy: Path) -> None:
    """Downloads through Ivy's own default repository, into a cache of its own: a damaged user cache cannot get in."""
    with tempfile.TemporaryDirectory(prefix="jars-") as work:
        settings, module = Path(work, "ivysettings.xml"), Path(work, "ivy.xml")
        # No POMs and no checksum files: one request a jar, and the lock file has the checksums.
        settings.write_text(
            '<ivysettings><settings defaultResolver="central"/><resolvers>'
            '<ibiblio name="central" m2compatible="true" usepoms="false" useMavenMetadata="false" checksums=""/>'
            "</resolvers></ivysettings>",
            encoding="utf-8",
        )
        module.write_text(_ivy_module(jars), encoding="utf-8")
        pattern = f"{folder}/[artifact]-[revision](-[classifier]).[ext]"
        options = ["-settings", settings, "-ivy", module, "-cache", Path(work, "cache"), "-retrieve", pattern, "-warn"]
        command = [str(java.path), "-Xmx256m", "-jar", str(ivy), *map(str, options)]
        _run(command, cwd=work, java=java, tool="Ivy")


def find_ivy() -> Path:
    """The Ivy jar inside the installed pyspark, found without importing it.

    Raises:
        PlatformError: there is no pyspark, or it carries no Ivy.
    """
    found = sorted(spark_jars().glob("ivy-*.jar"))
    if not found:
        raise PlatformError(f"no Maven on PATH, and no ivy-*.jar in {spark_jars()}; install Maven")
    return found[-1]


def spark_jars() -> Path:
    """The folder of jars of the pyspark in this environment, found without importing it.

    Raises:
        PlatformError: pyspark is not installed.
    """
    spec = importlib.util.find_spec("pyspark")
    for location in (spec.submodule_search_locations if spec else None) or ():
        if (Path(location) / "jars").is_dir():
            return Path(location) / "jars"
    raise PlatformError("pyspark is not installed in this environment; run `make setup`, or install the `spark` extra")


def _maven_coordinates(jar: LockedJar) -> str:
    classifier = f"<classifier>{escape(jar.classifier)}</classifier>" if jar.classifier else ""
    return (
        f"<groupId>{escape(jar.group)}</groupId><artifactId>{escape(jar.artifact)}</artifactId>"
        f"<version>{escape(jar.version)}</version>{classifier}"
    )


def _ivy_module(jars: Sequence[LockedJar]) -> str:
    def module(jar: LockedJar) -> tuple[str, str, str]:
        return jar.group, jar.artifact, jar.version

    dependencies = []
    for (group, artifact, version), variants in groupby(sorted(jars, key=module), key=module):
        artifacts = "".join(
            f'<artifact name={quoteattr(artifact)} type="jar" ext="jar"'
            + (f" m:classifier={quoteattr(jar.classifier)}/>" if jar.classifier else "/>")
            for jar in variants
        )
        dependencies.append(
            f"<dependency org={quoteattr(group)} name={quoteattr(artifact)} rev={quoteattr(version)}"
            f' transitive="false" conf="default">{artifacts}</dependency>'
        )
    return (
        '<ivy-module version="2.0" xmlns:m="urn:maven">'
        '<info organisation="features" module="jars"/><configurations><conf name="default"/></configurations>'
        f"<dependencies>{''.join(dependencies)}</dependencies></ivy-module>"
    )


def _run(command: Sequence[str], *, cwd: str, java: Java, tool: str) -> None:
    environment = {**os.environ, "JAVA_HOME": str(java.home)}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise PlatformError(f"{tool} got no further in {_TIMEOUT_SECONDS} s of downloading jars; {_RETRY}") from exc
    except OSError as exc:
        raise PlatformError(f"{command[0]} does not run: {exc}; correct PATH or reinstall {tool}") from exc
    if done.returncode == 0:
        return
    output = f"{done.stdout}\n{done.stderr}"
    if "No space left on device" in output:
        raise PlatformError(f"the disk became full while {tool} downloaded jars; free 512 MiB, then run this again")
    raise PlatformError(f"{tool} could not download the jars: {_reasons(output)}; {_RETRY}")


def _reasons(output: str, limit: int = 4) -> str:
    """The few lines of a tool's output that say why it failed."""
    plain = (re.sub(r"\x1b\[[\d;]*m|\[ERROR\]|-> \[Help \d+\]", "", line).strip() for line in output.splitlines())
    lines = [line for line in plain if line and not line.startswith(_BOILERPLATE)]
    telling = [line for line in lines if any(word in line.lower() for word in _TELLING)]
    return " / ".join(line[:300] for line in (telling or lines)[:limit]) or "it said nothing"
