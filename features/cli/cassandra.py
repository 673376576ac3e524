"""`features cassandra start|status|stop|reset`: the Cassandra that serves one machine."""

import logging
from argparse import Namespace, _SubParsersAction
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, parse_overrides
from features.cli.rendering import to_plain
from features.cli.running import Answer

if TYPE_CHECKING:
    from features.config import Settings
    from features.embedded.cassandra import Status

logger = logging.getLogger(__name__)

_ABOUT = {
    "start": "Start the embedded Cassandra, or find it running; returns once it answers.",
    "status": "Show whether the embedded Cassandra runs.",
    "stop": "Stop the embedded Cassandra; its data stays.",
    "reset": "Stop the embedded Cassandra and delete its data; the next load of each view starts over.",
}


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds cassandra and its own verbs."""
    about = "Start, stop and look at the Cassandra of this machine."
    parser = verbs.add_parser("cassandra", help=about, description=about, epilog="example:\n  features cassandra start")
    own: _SubParsersAction[Parser] = parser.add_subparsers(metavar="start|status|stop|reset", required=True)
    for name, text in _ABOUT.items():
        add_verb(own, name, control, about=text, example=f"features cassandra {name}").set_defaults(action=name)


def control(args: Namespace) -> Answer:
    """Do to the node what the action says; its status afterwards."""
    from features.config import load_settings
    from features.embedded.cassandra import embedded_node

    settings = load_settings(args.conf, env=args.env, overrides=parse_overrides(args.set))
    node = embedded_node(settings)
    if args.action == "start":
        status = node.start(logger.info)
    elif args.action == "stop":
        status = node.stop()
    elif args.action == "reset":
        status = node.reset()
        _forget_loads(settings)
    else:
        status = node.status()
    return Answer(text=_tell(status), data=to_plain(status))


def _forget_loads(settings: "Settings") -> None:
    """Without this a load would find its checkpoint at the end of the log, and leave the new tables empty."""
    from features.registry import Registry
    from features.stores.opening import online_target

    target = online_target(settings.online)
    with Registry.open(settings.registry, password=settings.registry_password()) as registry:
        for view in registry.views():
            if registry.checkpoint(view, target=target):
                registry.reset_checkpoint(view, target=target)
                logger.info("the next load starts from the beginning", extra={"view": view.reference})


def _tell(status: "Status") -> str:
    where = f"{status.host}:{status.port}"
    if not status.running:
        return f"Cassandra does not run; it would listen on {where}, its files are in {status.state_dir}"
    return f"Cassandra runs on {where} (pid {status.pid}, up {status.uptime_seconds or 0:.0f} s), log in {status.log}"
