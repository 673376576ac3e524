"""`features doctor`: what this machine and environment lack, each with what to do about it."""

import os
import shutil
import sys
from argparse import Namespace, _SubParsersAction
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store
from features.cli.running import Answer, explain
from features.errors import FeatureStoreError, PlatformError, RegistryError
from features.materialization.findings.finding import ERROR, Finding

if TYPE_CHECKING:
    from features.config import AirflowSettings
    from features.store import FeatureStore

_PYTHON = ((3, 11), (3, 14))
_FREE_MIB = 2048
_SUBMIT = "spark-submit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check: found says what is there or, of a problem, what is wrong and what to do."""

    name: str
    ok: bool
    found: str


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds doctor."""
    about = (
        "Check this machine and environment: what is missing, and what is wrong with logs, tables, runs and versions, "
        "each with its fix. Exit code 1 if there is a problem."
    )
    parser = add_verb(verbs, "doctor", doctor, about=about, example="features doctor --env prod --fix")
    parser.add_argument("--fix", action="store_true",
                        help="record as failed what was killed, and tell of the commits that it left")  # fmt: skip
    parser.add_argument("--fail-run", action="append", default=[], metavar="RUN",
                        help="record a run of another machine, which has ended, as failed; repeatable")  # fmt: skip


def doctor(args: Namespace) -> Answer:
    """Every check that can be made: those of the environment need its configuration."""
    checks = [_check(name, look) for name, look in _MACHINE.items()]
    findings: list[Finding] = []
    try:
        store = open_store(args)
    except FeatureStoreError as exc:
        checks.append(_check(_SUBMIT, _own_spark_submit))
        checks.append(Check(name="configuration", ok=False, found=str(exc)))
    else:
        settings = store.settings
        checks.append(_check(_SUBMIT, partial(_spark_submit, settings.airflow, args)))
        checks.append(Check(name="configuration", ok=True, found=f"{args.conf}, environment {settings.env!r}"))
        with store:
            checks += [_check(name, partial(look, store)) for name, look in _ENVIRONMENT.items()]
            if all(check.ok for check in checks if check.name == "registry"):
                checks.append(_check("consistency", partial(_consistency, store, args, findings)))
    problems = sum(not check.ok for check in checks)
    problems += sum(finding.severity == ERROR and not finding.fixed for finding in findings)
    width = max(len(check.name) for check in checks)
    lines = [f"{'ok     ' if c.ok else 'PROBLEM'}  {c.name:<{width}}  {c.found}" for c in checks]
    lines += [line for finding in findings for line in _tell(finding)]
    lines.append("no problems" if not problems else f"{problems} problem{'s' if problems > 1 else ''}")
    data = {
        "problems": problems,
        "checks": [asdict(check) for check in checks],
        "findings": [asdict(finding) for finding in findings],
    }
    return Answer(text="\n".join(lines), data=data, exit_code=1 if problems else 0)


def _consistency(store: "FeatureStore", args: Namespace, findings: list[Finding]) -> str:
    findings += store.examine(fix=args.fix, dead_runs=args.fail_run)
    return "registry, logs, tables, runs and versions looked over" + (": see below" if findings else "")


def _tell(finding: Finding) -> list[str]:
    label = "fixed" if finding.fixed else "PROBLEM" if finding.severity == ERROR else finding.severity
    lines = [f"{label:<7}  {finding.kind}: {finding.where}", f"{'':<9}{finding.what}"]
    return lines if finding.fixed else [*lines, f"{'':<9}fix: {finding.fix}"]


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, found=look())
    except Exception as exc:  # noqa: BLE001 - boundary: a broken part must not hide the others
        return Check(name=name, ok=False, found=explain(exc).message)


def _python() -> str:
    low, high = _PYTHON
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro} at {sys.executable}"
    if not low <= sys.version_info[:2] < high:
        raise PlatformError(f"Python {found}; make the environment with Python 3.11, 3.12 or 3.13")
    return found


def _java() -> str:
    from features.embedded.jdk import find_java

    java = find_java()
    return f"{java.build} at {java.home}"


def _delta() -> str:
    from features.embedded.jar_download import spark_jars
    from features.embedded.jars import install_delta_jars

    missing = "run `make setup`, or any job with the network at hand"
    if not list(spark_jars().glob("delta-spark_*.jar")):
        raise PlatformError(f"Spark has no Delta jars in {spark_jars()}; {missing}")
    return ", ".join(path.name for path in install_delta_jars())


def _spark_submit(airflow: "AirflowSettings", args: Namespace) -> str:
    """The program that DAGs run jobs with."""
    from features.orchestration.plan import spark_submit_command

    program = spark_submit_command(airflow)[0]
    if program != _SUBMIT:
        # Runs begin in the folder that holds conf. Which Python the program takes is for its own environment to say.
        submit = shutil.which(Path(args.conf).resolve().parent / program if os.sep in program else program)
        if submit is None:
            raise PlatformError(
                f"airflow.spark_submit names {program}, which this machine lacks or may not run; correct it, or "
                "ask on a machine that runs Airflow's tasks"
            )
        return f"{submit}, of airflow.spark_submit"
    return _own_spark_submit()


def _own_spark_submit() -> str:
    """Spark runs jobs with the `python3` of the PATH, unless it is told otherwise."""
    submit = shutil.which(_SUBMIT)
    chosen = os.environ.get("PYSPARK_DRIVER_PYTHON") or os.environ.get("PYSPARK_PYTHON") or "python3"
    python = shutil.which(chosen)
    own = Path(sys.prefix, "bin")
    advice = f"activate the environment (`. {own}/activate`), or put {own} first on PATH"
    if submit is None:
        raise PlatformError(f"no spark-submit on PATH; {advice}")
    if python is None or Path(python).parent != own:
        raise PlatformError(f"spark-submit would run jobs with {python or chosen}, not with this environment; {advice}")
    return submit


def _registry(store: "FeatureStore") -> str:
    return f"reachable, {len(store.registry.views())} views and {len(store.registry.services())} services applied"


def _views(store: "FeatureStore") -> str:
    plan = store.plan()
    if not plan.is_empty:
        names = ", ".join(change.name for change in plan.changes[:5])
        raise RegistryError(f"{len(plan.changes)} changes are not applied ({names}); run `features plan`, then apply")
    return f"{store.settings.views}: {len(store.definitions.views)} views, as applied"


def _sources(store: "FeatureStore") -> str:
    from features.cli.source_checks import check_sources

    return check_sources([s for view in store.definitions.views.values() for s in view.sources], store.settings)


def _warehouse(store: "FeatureStore") -> str:
    where = store.settings.warehouse
    if "://" in where:
        return f"{where} (remote: not checked)"
    folder = _existing(Path(where).absolute())
    if not os.access(folder, os.W_OK):
        raise PlatformError(f"{folder} is not writable; give this user the right, or set warehouse in conf")
    free = shutil.disk_usage(folder).free // 2**20
    if free < _FREE_MIB:
        raise PlatformError(
            f"{folder} has {free} MiB free; make room for at least {_FREE_MIB}, or set warehouse in conf"
        )
    return f"{Path(where).absolute()} is writable, {free // 1024} GiB free"


def _online(store: "FeatureStore") -> str:
    from features.embedded.cql_probe import answers_cql
    from features.stores.tls import client_context

    online = store.settings.online
    if online.type == "memory":
        return "memory: lives in each process"
    context = client_context(online)
    found = [host for host in online.hosts if answers_cql(host, online.port, context=context)]
    if not found:
        hint = "run `features cassandra start`" if online.embedded else "check online.hosts, the port and the network"
        raise PlatformError(f"no CQL server at {', '.join(online.hosts)}, port {online.port}; {hint}")
    return f"{len(found)} of {len(online.hosts)} hosts answer on port {online.port}"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder


_MACHINE: dict[str, Callable[[], str]] = {
    "Python": _python,
    "JDK": _java,
    "Delta jars": _delta,
}
_ENVIRONMENT: "dict[str, Callable[[FeatureStore], str]]" = {
    "registry": _registry,
    "views": _views,
    "sources": _sources,
    "warehouse": _warehouse,
    "online store": _online,
}
