"""Arguments that verbs and jobs share, and what they stand for."""

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from features.errors import UsageError

if TYPE_CHECKING:
    from features.store import FeatureStore


class Parser(ArgumentParser):
    """A parser that raises what it refuses, so that there is one way in which commands fail."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises: UsageError."""
        raise UsageError(f"{self.prog}: {message}; see `{self.prog} --help`")


def add_verb(
    verbs: "_SubParsersAction[Parser]", name: str, command: Callable[[Namespace], object], *, about: str, example: str
) -> Parser:
    """A verb with the common options; what it adds is up to its module."""
    parser = verbs.add_parser(name, help=about, description=about, epilog=f"example:\n  {example}")
    parser.set_defaults(command=command)
    add_common(parser)
    return parser


def add_common(parser: ArgumentParser, *, json_option: bool = True) -> None:
    """The options that say which feature store is meant, and how to answer."""
    group = parser.add_argument_group("common options")
    group.add_argument("--env", help="environment, conf/<env>.yaml (default: $FEATURES_ENV, then local)")
    group.add_argument("--conf", default=os.environ.get("FEATURES_CONF") or "conf", metavar="FOLDER",
                       help="configuration folder (default: $FEATURES_CONF, then conf)")  # fmt: skip
    group.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                       help="override a setting, such as online.port=9043; may be repeated")  # fmt: skip
    if json_option:
        group.add_argument("--json", action="store_true", help="print one JSON object, errors too")
    group.add_argument("--debug", action="store_true", help="print tracebacks, and what vendors log")


def add_range(parser: ArgumentParser) -> None:
    """The range of a run."""
    parser.add_argument("--start", required=True, metavar="TIME", help="ISO with an offset: 2013-03-07T00:00:00Z")
    parser.add_argument("--end", required=True, metavar="TIME", help="not included; whole intervals of the schedule")


def add_load_options(parser: ArgumentParser) -> None:
    """How a load goes."""
    parser.add_argument("--full", action="store_true", help="write every key, and delete those that the log lacks")
    parser.add_argument("--path", choices=("auto", "sstable", "cql"),
                        help="how Cassandra is written (default: online.load.path)")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="write nothing: tell what would be")


def add_upstreams(parser: ArgumentParser) -> None:
    """At which version a run reads the views that its view reads."""
    parser.add_argument("--upstream", action="append", default=[], metavar="VIEW=DELTA_VERSION",
                        help="read a view at a version of its log (default: the newest); may be repeated")  # fmt: skip


def parse_upstreams(pairs: Sequence[str]) -> dict[str, int]:
    """View to Delta version, of `view=version` texts. Raises: UsageError: a text is none, or a view comes twice."""
    found: dict[str, int] = {}
    for pair in pairs:
        name, version = split_pair(pair, option="--upstream")
        if not version.isdecimal() or name in found:
            raise UsageError(f"--upstream takes VIEW=DELTA_VERSION, once for a view, got {pair!r}")
        found[name] = int(version)
    return found


def open_store(args: Namespace) -> "FeatureStore":
    """The feature store that the common options name. Raises: ConfigError, UsageError."""
    from features.store import FeatureStore

    return FeatureStore.from_conf(args.conf, env=args.env, overrides=parse_overrides(args.set))


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """Setting to value, of `name=value` texts; values are YAML: 9043 is a number, [a, b] a list.

    Raises: UsageError: a text is none.
    """
    import yaml

    found: dict[str, Any] = {}
    for pair in pairs:
        name, value = split_pair(pair, option="--set")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as exc:
            raise UsageError(f"--set {pair}: the value is not valid YAML; quote it") from exc
    return found


def parse_features(text: str) -> str | list[str]:
    """A service, view or feature by name, or the list that commas separate."""
    parts = [part.strip() for part in text.split(",")]
    return parts[0] if len(parts) == 1 else parts


def parse_limit(text: str) -> int:
    """How many of something to show. Raises: ArgumentTypeError: the text is no number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def split_pair(pair: str, *, option: str) -> tuple[str, str]:
    """Name and value of `name=value`. Raises: UsageError: it is none."""
    name, equals, value = pair.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"{option} takes NAME=VALUE, got {pair!r}")
    return name.strip(), value


def split_pairs(text: str, *, option: str) -> dict[str, str]:
    """Name to value, of `name=value,name=value`. Raises: UsageError: a part is none."""
    return dict(split_pair(pair, option=option) for pair in text.split(","))
