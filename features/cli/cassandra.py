"""`features cassandra start|status|stop|reset|roles`: the Cassandra that serves one machine, and who may do what."""

import logging
from argparse import ArgumentParser, BooleanOptionalAction, Namespace, _SubParsersAction
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, parse_overrides
from features.cli.rendering import to_plain
from features.cli.running import Answer

if TYPE_CHECKING:
    from features.config import OnlineSettings, Settings
    from features.embedded.cassandra import Status
    from features.embedded.security import Security

logger = logging.getLogger(__name__)

_ABOUT = {
    "start": "Start the embedded Cassandra, or find it running; returns once it answers.",
    "status": "Show whether the embedded Cassandra runs.",
    "stop": "Stop the embedded Cassandra; its data stays.",
    "reset": "Stop the embedded Cassandra and delete its data; the next load of each view starts over.",
}
_ROLES = (
    "Create a role that reads the keyspace, for apps, and one that loads it, or bring what they may do, and their "
    "passwords, up to date. The keyspace is made where it is missing. Works on any cluster, as online.username or "
    "--admin, which must be allowed to."
)


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds cassandra and its own verbs."""
    about = "Start, stop and look at the Cassandra of this machine; make roles on any."
    parser = verbs.add_parser("cassandra", help=about, description=about, epilog="example:\n  features cassandra start")
    own: _SubParsersAction[Parser] = parser.add_subparsers(metavar="start|status|stop|reset|roles", required=True)
    for name, text in _ABOUT.items():
        verb = add_verb(own, name, control, about=text, example=f"features cassandra {name}")
        verb.set_defaults(action=name, nodes=None, auth=None, tls=None, client_certificates=False)
        if name == "start":
            _add_start_options(verb)
    _add_roles_options(add_verb(own, "roles", grant, about=_ROLES, example="features cassandra roles"))


def _add_start_options(verb: ArgumentParser) -> None:
    verb.add_argument("--nodes", type=int, metavar="N",
                      help="how many, on 127.0.0.1, 127.0.0.2, ...; several are one cluster until a reset")  # fmt: skip
    verb.add_argument("--auth", action=BooleanOptionalAction,
                      help="demand passwords (default: where online.username is set)")  # fmt: skip
    verb.add_argument("--tls", action=BooleanOptionalAction,
                      help="demand TLS; makes certificates (default: where online.tls is set)")  # fmt: skip
    verb.add_argument("--client-certificates", action="store_true", help="demand certificates of clients too")


def _add_roles_options(verb: ArgumentParser) -> None:
    for role, default in (("reader", "features_reader"), ("writer", "features_writer")):
        variable = f"{default.upper()}_PASSWORD"
        verb.add_argument(f"--{role}", default=default, metavar="NAME", help=f"its name (default: {default})")
        verb.add_argument(f"--{role}-password-env", default=variable, metavar="VARIABLE",
                          help=f"environment variable with its password (default: {variable})")  # fmt: skip
    verb.add_argument("--admin", metavar="NAME", help="who makes the roles (default: online.username)")
    verb.add_argument("--admin-password-env", metavar="VARIABLE",
                      help="environment variable with the admin's password (default: online.password_env)")  # fmt: skip


def control(args: Namespace) -> Answer:
    """Do to the node, or to the nodes of the cluster, what the action says; their status afterwards."""
    from features.config import load_settings
    from features.embedded.serving import embedded_cassandra

    settings = load_settings(args.conf, env=args.env, overrides=parse_overrides(args.set))
    cassandra = embedded_cassandra(settings, nodes=args.nodes, security=_security(args, settings.online))
    if args.action == "start":
        status = cassandra.start(logger.info)
    elif args.action == "stop":
        status = cassandra.stop()
    elif args.action == "reset":
        status = cassandra.reset()
        _forget_loads(settings)
    else:
        status = cassandra.status()
    if isinstance(status, tuple):
        return Answer(text="\n".join(map(_tell, status)), data={"nodes": to_plain(status)})
    return Answer(text=_tell(status), data=to_plain(status))


def grant(args: Namespace) -> Answer:
    """Create or update the roles of apps and of loads."""
    from features.config import load_settings
    from features.stores.cassandra_roles import Role, ensure_roles

    online = load_settings(args.conf, env=args.env, overrides=parse_overrides(args.set)).online
    if args.admin is not None:
        online = online.model_copy(update={"username": args.admin, "password_env": args.admin_password_env})
    elif args.admin_password_env is not None:
        online = online.model_copy(update={"password_env": args.admin_password_env})
    reader = Role.reader(args.reader, password_env=args.reader_password_env)
    writer = Role.writer(args.writer, password_env=args.writer_password_env)
    changes = ensure_roles(online, (reader, writer))
    lines = [f"{role.name}: {change}" for role, change in zip((reader, writer), changes, strict=True)]
    return Answer(
        text="\n".join([*lines, f"in keyspace {online.keyspace}; nodes follow within their permissions_validity"]),
        data={"keyspace": online.keyspace, "roles": {role.name: list(role.permissions) for role in (reader, writer)}},
    )


def _security(args: Namespace, online: "OnlineSettings") -> "Security":
    from features.embedded.security import Security
    from features.embedded.serving import demanded_security

    demanded = demanded_security(online)
    return Security(
        passwords=demanded.passwords if args.auth is None else args.auth,
        tls=(demanded.tls or args.client_certificates) if args.tls is None else args.tls,
        client_certificates=args.client_certificates,
    )


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
    demands = [f"demands {status.security}"] if status.security.passwords or status.security.tls else []
    if status.certificates is not None:
        demands.append(f"online.tls.ca_file is {status.certificates.ca}")
    told = [f"pid {status.pid}", f"up {status.uptime_seconds or 0:.0f} s", *demands]
    return f"Cassandra runs on {where} ({', '.join(told)}), log in {status.log}"
