"""`features get` and `features serve`: the latest values, with a status each; and keys for those who ask."""

import json
import logging
from argparse import ArgumentTypeError, Namespace, _SubParsersAction
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from features.cli.options import Parser, add_verb, open_store, parse_features, parse_overrides, split_pair, split_pairs
from features.cli.progress import progress_on_stderr
from features.cli.rendering import table, to_plain
from features.cli.running import Answer
from features.core.key_text import parse_key
from features.errors import NotFoundError

if TYPE_CHECKING:
    from features.core.dtypes import DType
    from features.serving.http.app import Serving
    from features.serving.response import OnlineResponse

logger = logging.getLogger(__name__)


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds get and serve."""
    about = "Read the latest values of features online, with the status of each."
    parser = add_verb(verbs, "get", get, about=about, example="features get --features delay_model carrier=AA")
    parser.epilog = (
        f"{parser.epilog}\n  features get --features route --entity origin=JFK,dest=LAX --entity origin=EWR,dest=SFO"
    )
    parser.add_argument("--features", required=True, metavar="REF[,REF]", help="a service, or view:feature references")
    parser.add_argument(
        "pairs", nargs="*", metavar="KEY=VALUE", help="join keys, and request columns; they are part of every row"
    )
    parser.add_argument("--entity", action="append", default=[], metavar="KEY=VALUE[,...]",
                        help="those of one row; repeat it for several")  # fmt: skip
    parser.add_argument("--now", metavar="TIME", help="when lookback is judged (default: the present)")
    parser.add_argument("--full-feature-names", action="store_true", help="name columns view__feature")

    about = "Answer online requests over HTTP, until interrupted."
    parser = add_verb(verbs, "serve", serve, about=about, example="features serve --port 6566 --workers 4")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=6566, help="port to listen on (default: %(default)s)")
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes (default: serving.workers)")

    about = "Make API keys for `features serve`."
    keys = verbs.add_parser(
        "serving-key", help=about, description=about, epilog="example:\n  features serving-key create"
    )
    own: _SubParsersAction[Parser] = keys.add_subparsers(metavar="create", required=True)
    about = "Make an API key: it is shown once; its hash is what to keep, in serving.keys or serving.keys_file."
    example = "features serving-key create checkout --services fraud,delay_model --expires 90d"
    parser = add_verb(own, "create", create_key, about=about, example=example)
    parser.add_argument("name", metavar="NAME", help="who will ask: it stands in the access log")
    parser.add_argument(
        "--services", required=True, metavar="NAME[,NAME]", help='feature services, or "*" for anything'
    )
    parser.add_argument("--expires", type=_days, metavar="DAYS", help="from now on, such as 90d (default: never)")


def _workers(text: str) -> int:
    """A number of processes. Raises: ArgumentTypeError: it is none."""
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise ArgumentTypeError(f"{text!r} is no number of processes: 1 to 256")
    return int(text)


def _days(text: str) -> int:
    """The days of `90d`. Raises: ArgumentTypeError: it is no such thing."""
    days = text.removesuffix("d")
    if not text.endswith("d") or not days.isdecimal() or not 1 <= int(days) <= 36_500:
        raise ArgumentTypeError(f"{text!r} is no number of days, such as 90d")
    return int(days)


def _port(text: str) -> int:
    """A port. Raises: ArgumentTypeError: it is none."""
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def get(args: Namespace) -> Answer:
    """The latest values of each row's keys."""
    from features.core.request import compile_request

    shared = dict(split_pair(pair, option="an entity") for pair in args.pairs)
    own = [split_pairs(text, option="--entity") for text in args.entity]
    rows = [{**shared, **row} for row in own or [{}]]
    features = parse_features(args.features)
    with open_store(args) as store:
        requested = store.registry.resolve_serving(features).requested
        types = compile_request(requested, full_feature_names=True).given_columns
        entity_rows = [_typed(row, types) for row in rows]
        response = store.get_online_features(
            features=features, entity_rows=entity_rows, now=args.now, full_feature_names=args.full_feature_names
        )
    return _answer(response)


def serve(args: Namespace) -> Answer:
    """Answer requests until interrupted."""
    from features.serving.http.running import listen
    from features.serving.http.running import serve as answer_requests

    with open_store(args) as store:
        settings = store.settings.serving
    if not (settings.keys or settings.keys_file) and not _is_loopback(args.host):
        logger.warning(f"anybody who reaches {args.host} may read: no API key is configured")
    workers = args.workers or settings.workers
    listeners = listen(args.host, args.port, sockets=workers)
    logger.info("serving", extra={"host": args.host, "port": listeners[0].getsockname()[1], "workers": workers})
    opener = partial(_open_serving, args.conf, args.env, parse_overrides(args.set), args.debug)
    answer_requests(opener, listeners=listeners, shutdown_seconds=settings.shutdown_seconds)
    return Answer(text="stopped", data={"status": "stopped"})


@contextmanager
def _open_serving(conf: str, env: str | None, overrides: Mapping[str, Any], debug: bool) -> "Iterator[Serving]":
    """What one worker serves. In a process of its own nobody has told the log to go to stderr."""
    from multiprocessing import parent_process

    from features.serving.http.app import Serving
    from features.store import FeatureStore

    shown = nullcontext() if parent_process() is None else progress_on_stderr(debug=debug)
    with shown, FeatureStore.from_conf(conf, env=env, overrides=overrides) as store:
        yield Serving(
            client=store.online_client, registry=store.registry, store=store.online, settings=store.settings.serving
        )


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def create_key(args: Namespace) -> Answer:
    """A new key, and the entry to keep of it."""
    from datetime import UTC, datetime, timedelta

    from features.core.times import format_instant
    from features.serving.http.keys import make_key

    key, digest = make_key()
    services = args.services if args.services == "*" else [name.strip() for name in args.services.split(",")]
    entry: dict[str, Any] = {"name": args.name, "sha256": digest, "services": services}
    if args.expires is not None:
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=args.expires)
        entry["expires"] = format_instant(until)
    # JSON is YAML, and one line of it is one entry of a list.
    text = f"{key}\n\nThis key is not kept anywhere: note it now. Add to serving.keys_file:\n- {json.dumps(entry)}"
    return Answer(text=text, data={"key": key, "entry": entry})


def _typed(row: Mapping[str, str], types: "Mapping[str, DType]") -> dict[str, Any]:
    for name in row:
        if name not in types:
            raise NotFoundError.of("join key or request column", name, types)
    return {name: parse_key(text, types[name], name=name) for name, text in row.items()}


def _answer(response: "OnlineResponse") -> Answer:
    keys = list(response.entities)
    count = len(next(iter(response.features.values()), ()))
    lines: list[Sequence[Any]] = []
    rows: list[dict[str, Any]] = []
    for place in range(count):
        entity = {key: response.entities[key][place] for key in keys}
        found: dict[str, Any] = {}
        for name, values in response.features.items():
            status, event = response.statuses[name][place], response.event_timestamps[name][place]
            lines.append([*entity.values(), name, values[place], str(status), event])
            found[name] = {"value": values[place], "status": str(status), "event_timestamp": event}
        rows.append({"entity": entity, "features": found})
    return Answer(text=table([*keys, "feature", "value", "status", "event time"], lines), data=to_plain({"rows": rows}))
