"""Maintenance: `python -m features.embedded.relock` writes the lock files anew from the versions below, through Maven.

Run it after changing a version here, and review the difference: it takes what the repository gives today as the truth.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from features.embedded.locked_jars import LOCK_FOLDER, LockedJar, sha256_of
from features.errors import FeatureStoreError, PlatformError

_ROOTS = {
    "cassandra": ["org.apache.cassandra:cassandra-all:5.0.9"],
    "delta": ["io.delta:delta-spark_4.2_2.13:4.4.0", "io.delta:delta-storage:4.4.0"],
    "jdbc": ["org.postgresql:postgresql:42.7.10"],
}
# Spark brings everything else that Delta needs.
_WITH_DEPENDENCIES = {"cassandra"}
_DEPENDENCY_SCOPE = "runtime"


def relock(name: str) -> Path:
    """Writes one lock file and returns its path.

    Raises:
        PlatformError: there is no Maven, or it failed.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise PlatformError("no Maven on PATH; relocking needs it to resolve versions")
    with tempfile.TemporaryDirectory(prefix="relock-") as work:
        Path(work, "pom.xml").write_text(_pom(name), encoding="utf-8")
        command = [maven, "-B", "-q", "dependency:copy-dependencies", f"-DincludeScope={_DEPENDENCY_SCOPE}"]
        command += [f"-DoutputDirectory={work}/lib", "-Dmdep.useRepositoryLayout=true"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PlatformError(f"Maven could not resolve {name}:\n{done.stdout}{done.stderr}")
        lines = sorted(_locked(path, Path(work, "lib")).line for path in Path(work, "lib").rglob("*.jar"))
    lock = LOCK_FOLDER / f"{name}.lock"
    lock.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return lock


def _locked(path: Path, repository: Path) -> LockedJar:
    """The coordinates that a path in Maven's layout tells: group/as/folders/artifact/version/file."""
    *group, artifact, version, filename = path.relative_to(repository).parts
    classifier = filename.removesuffix(".jar").removeprefix(f"{artifact}-{version}").removeprefix("-")
    return LockedJar(
        group=".".join(group), artifact=artifact, version=version, classifier=classifier or None, sha256=sha256_of(path)
    )


def _pom(name: str) -> str:
    exclusions = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    dependencies = ""
    for root in _ROOTS[name]:
        group, artifact, version = root.split(":")
        dependencies += (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
            f"{'' if name in _WITH_DEPENDENCIES else exclusions}</dependency>"
        )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>features</groupId><artifactId>relock</artifactId>"
        f"<version>1</version><dependencies>{dependencies}</dependencies></project>"
    )


def main() -> int:
    """Relocks every set."""
    try:
        for name in _ROOTS:
            sys.stdout.write(f"wrote {relock(name)}\n")
    except FeatureStoreError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
