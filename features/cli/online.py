"""`features get` and `features serve`: the latest values, with a status each."""

from argparse import ArgumentTypeError, Namespace, _SubParsersAction
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.cli.options import Parser, add_verb, open_store, parse_features, split_pair
from features.cli.rendering import table, to_plain
from features.cli.running import Answer
from features.errors import NotFoundError, PlatformError, UsageError

if TYPE_CHECKING:
    from features.core.dtypes import DType
    from features.serving.response import OnlineResponse

_BOOLEANS = {"true": True, "false": False}


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
    parser = add_verb(verbs, "serve", serve, about=about, example="features serve --port 6566")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=6566, help="port to listen on (default: %(default)s)")


def _port(text: str) -> int:
    """A port. Raises: ArgumentTypeError: it is none."""
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def get(args: Namespace) -> Answer:
    """The latest values of each row's keys."""
    from features.core.request import compile_request

    shared = dict(split_pair(pair, option="an entity") for pair in args.pairs)
    own = [dict(split_pair(pair, option="--entity") for pair in text.split(",")) for text in args.entity]
    rows = [{**shared, **row} for row in own or [{}]]
    features = parse_features(args.features)
    with open_store(args) as store:
        types = compile_request(store.registry.resolve(features), full_feature_names=True).given_columns
        entity_rows = [_typed(row, types) for row in rows]
        response = store.get_online_features(
            features=features, entity_rows=entity_rows, now=args.now, full_feature_names=args.full_feature_names
        )
    return _answer(response)


def serve(args: Namespace) -> Answer:
    """Answer requests until interrupted."""
    from features.embedded.ports import is_free
    from features.serving.server import serve as answer_requests

    with open_store(args) as store:
        if not is_free(args.host, args.port):
            raise PlatformError(f"{args.host}:{args.port} is in use; name another --port")
        answer_requests(store.online_client, host=args.host, port=args.port)
    return Answer(text="stopped", data={"status": "stopped"})


def parse_key(text: str, dtype: "DType", *, name: str) -> Any:
    """The value of a join key, or of a request column, out of its text.

    Raises: UsageError: the text is none of that type.
    """
    import binascii
    from decimal import InvalidOperation

    try:
        return _parse_text(text, dtype, name)
    except (ValueError, KeyError, InvalidOperation, binascii.Error) as exc:
        raise UsageError(f"{name}={text!r} is not of type {dtype}") from exc


def _parse_text(text: str, dtype: "DType", name: str) -> Any:
    import base64
    from datetime import date
    from decimal import Decimal

    from features.core.times import parse_instant

    match dtype.kind:
        case "bool":
            return _BOOLEANS[text.lower()]
        case "int32" | "int64":
            return int(text)
        case "float32" | "float64":
            return float(text)
        case "array" | "vector":
            raise UsageError(f"{name} is of type {dtype}, which has no form on a command line; use Python or HTTP")
        case "decimal":
            return Decimal(text)
        case "date":
            return date.fromisoformat(text)
        case "timestamp":
            return parse_instant(text, name=name)
        case "bytes":
            return base64.b64decode(text, validate=True)
        case _:
            return text


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
