"""`features cluster start|status|stop|reset`: Spark, Cassandra and PostgreSQL as processes of this machine."""

import logging
import os
from argparse import Namespace, _SubParsersAction
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, parse_overrides
from features.cli.rendering import to_plain
from features.cli.running import Answer

if TYPE_CHECKING:
    from features.embedded.local_cluster import ClusterStatus

logger = logging.getLogger(__name__)

_ABOUT = {
    "start": "Start a Spark master and two workers, three Cassandra nodes and PostgreSQL, or find them running.",
    "status": "Show which of them run, and where.",
    "stop": "Stop all of them; their data stays.",
    "reset": "Stop all of them and delete their data.",
}
DEFAULT_ENV = "cluster"


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds cluster and its own verbs."""
    about = "Start, stop and look at a whole cluster on this machine: Spark, Cassandra, PostgreSQL."
    parser = verbs.add_parser("cluster", help=about, description=about, epilog="example:\n  features cluster start")
    own: _SubParsersAction[Parser] = parser.add_subparsers(metavar="start|status|stop|reset", required=True)
    for name, text in _ABOUT.items():
        told = f"{text} The environment is `{DEFAULT_ENV}`, unless --env or $FEATURES_ENV names another."
        add_verb(own, name, control, about=told, example=f"features cluster {name}").set_defaults(action=name)


def control(args: Namespace) -> Answer:
    """Do to the cluster what the action says; its status afterwards."""
    from features.config import load_settings
    from features.embedded.local_cluster import local_cluster

    env = args.env or os.environ.get("FEATURES_ENV") or DEFAULT_ENV
    cluster = local_cluster(load_settings(args.conf, env=env, overrides=parse_overrides(args.set)))
    if args.action == "start":
        status = cluster.start(logger.info)
    elif args.action == "stop":
        status = cluster.stop()
    elif args.action == "reset":
        status = cluster.reset()
    else:
        status = cluster.status()
    return Answer(text=_tell(status, env), data={"running": status.running, **to_plain(status)})


def _tell(status: "ClusterStatus", env: str) -> str:
    spark, registry = status.spark, status.postgresql
    pids = ", ".join(map(str, spark.pids.values()))
    lines = [f"Spark       {spark.url}  {f'pids {pids}' if spark.running else 'does not run'}"]
    for node in status.cassandra:
        lines.append(f"Cassandra   {node.host}:{node.port}  {f'pid {node.pid}' if node.running else 'does not run'}")
    told = f"pid {registry.pid}" if registry.running else "does not run"
    lines.append(f"PostgreSQL  127.0.0.1:{registry.port}  {told}")
    if status.running:
        lines.append(f"use it with --env {env}, or FEATURES_ENV={env}")
    return "\n".join(lines)
