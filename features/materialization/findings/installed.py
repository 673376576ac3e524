"""Versions that do not go together: of the packages installed, of Spark's jars, of the online store's servers."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version

from features.materialization.findings.finding import ERROR, WARNING, Finding

_PACKAGE = "feature-platform"
# What a feature store runs with; what tests and benchmarks need is nobody's trouble here.
_EXTRAS = ("spark", "serving", "postgres", "airflow")
# The oldest server that has all that tables are made with: vectors, and TTLs that end after 2038.
_CASSANDRA = (5, 0)


def installed_version(name: str) -> str | None:
    """The version of an installed package; None: it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def find_package_skew(
    asked: Sequence[str] | None = None, *, installed: Callable[[str], str | None] = installed_version
) -> Iterator[Finding]:
    """Packages that are installed in a version that this release is not made for.

    Args:
        asked: requirements, as packages' metadata has them; None: those of this release.
        installed: the version of a package; None: it is not there, and where it is needed that is told anyway.
    """
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        # Whatever runs jobs has it; a serving app may not.
        return
    for text in _asked() if asked is None else asked:
        requirement = Requirement(text)
        wanted = requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *_EXTRAS))
        found = installed(requirement.name) if wanted else None
        if found is not None and not requirement.specifier.contains(found, prereleases=True):
            yield Finding(
                severity=ERROR,
                kind="version skew",
                where=requirement.name,
                what=f"{found} is installed, this release needs {requirement.specifier}",
                fix=f"make setup, or pip install '{requirement.name}{requirement.specifier}'",
            )


def find_jar_skew(jars: Iterable[str], *, delta: str | None, spark: str | None) -> Iterator[Finding]:
    """Delta jars among Spark's that are not of the Delta, or not for the Spark, that is installed.

    Args:
        jars: names of files. delta, spark: versions of the packages delta-spark and pyspark; None: not installed.
    """
    found = [match for name in jars if (match := re.fullmatch(r"delta-spark_(\d+\.\d+)_[\d.]+-(.+)\.jar", name))]
    if len(found) > 1:
        yield _jar(", ".join(match[0] for match in found), "several Delta jars, of which the JVM takes either")
    for match in found:
        if delta is not None and match[2] != delta:
            yield _jar(match[0], f"the package delta-spark is {delta}")
        if spark is not None and not f"{spark}.".startswith(f"{match[1]}."):
            yield _jar(match[0], f"made for Spark {match[1]}, the package pyspark is {spark}")


def find_server_skew(server: str | None, *, target: str) -> Iterator[Finding]:
    """An online store whose servers are older than what tables need. server: its version; None: it has none."""
    numbers = re.match(r"(\d+)\.(\d+)", server or "")
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < _CASSANDRA:
        yield Finding(
            severity=WARNING,
            kind="version skew",
            where=target,
            what=f"Cassandra {server}: features of type VECTOR, and TTLs past 2038, need 5.0",
            fix="upgrade its nodes, one after another",
        )


def _asked() -> Sequence[str]:
    try:
        return requires(_PACKAGE) or ()
    except PackageNotFoundError:
        # Run from a checkout that is not installed.
        return ()


def _jar(where: str, what: str) -> Finding:
    fix = "remove it from Spark's jars, then run `make setup`"
    return Finding(severity=ERROR, kind="version skew", where=where, what=what, fix=fix)
