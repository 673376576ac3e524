"""The options of an extraction, which the verb `training-set` and its job share, and what they stand for."""

import re
from argparse import ArgumentParser, Namespace
from datetime import timedelta
from typing import TYPE_CHECKING

from features.cli.options import split_pair, split_pairs
from features.errors import UsageError

if TYPE_CHECKING:
    from features.training.pinning import AsOfPoint
    from features.training.splits import Splits

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile(r"(\d+)([dhms])")


def add_extraction(parser: ArgumentParser) -> None:
    """What to extract, as what, and how to save it."""
    what = parser.add_argument_group("what to extract: features beside a spine, the latest, or all rows of a range")
    what.add_argument("--features", metavar="REF[,REF]", help="a service, or view:feature references")
    what.add_argument("--spine", metavar="PATH", help="Parquet or Delta: join keys, event_timestamp and other columns")
    what.add_argument("--latest", action="store_true", help="no spine: the latest values of all keys, seen at --at")
    what.add_argument("--start", metavar="TIME", help="no spine: all rows of one view from this event_timestamp on")
    what.add_argument("--end", metavar="TIME", help="up to this event_timestamp, not included")
    what.add_argument("--at", metavar="TIME", help="when a reader without a spine reads (default: the present)")
    what.add_argument("--known-at", choices=("created", "event"), default="created",
                      help="event: what was true, whether or not anyone could know it (leaks)")  # fmt: skip
    what.add_argument("--as-of", metavar="TIME|N|VIEW=N[,...]",
                      help="read the logs as they were at a moment, or at Delta versions (default: now)")  # fmt: skip
    what.add_argument("--full-feature-names", action="store_true", help="name columns view__feature")

    how = parser.add_argument_group("how to save it")
    how.add_argument("--name", help="of the training set; each save gets the next number")
    how.add_argument("--format", choices=("parquet", "delta"), default="parquet", help="of its files")
    how.add_argument("--no-hold", action="store_true", help="do not protect what a rebuild needs")
    how.add_argument("--time-split", metavar="PART=END[,...]",
                     help="parts by time: train=2013-03-08T00:00:00Z,test= (the last may have no end)")  # fmt: skip
    how.add_argument("--gap", metavar="DURATION", help="between parts by time, such as 7d or 36h")
    how.add_argument("--key-split", metavar="PART=SHARE[,...]", help="parts by a hash of keys: train=0.8,test=0.2")
    how.add_argument("--split-keys", metavar="KEY[,...]", help="which keys are hashed (default: all join keys)")
    how.add_argument("--split-salt", metavar="TEXT", help="another salt, another draw")
    how.add_argument("--output", metavar="PATH", help="write the rows there too, as Parquet")

    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="save nothing: tell what would be read, at most")
    instead.add_argument("--leakage-report", action="store_true",
                         help="save nothing: count what --known-at event would leak")  # fmt: skip


def check_extraction(args: Namespace) -> None:
    """Raises: UsageError: options that are missing, or do not go together."""
    if not args.features:
        raise UsageError("--features is required: a service, or view:feature references")
    ways = {"--spine": bool(args.spine), "--latest": args.latest, "--start and --end": bool(args.start or args.end)}
    chosen = [way for way, given in ways.items() if given]
    if len(chosen) != 1:
        raise UsageError(f"one of {', '.join(ways)} is required" + (f", not {' and '.join(chosen)}" if chosen else ""))
    if bool(args.start) != bool(args.end):
        raise UsageError("--start and --end are required together")
    if args.at and args.spine:
        raise UsageError("--at is for reading without a spine: a spine's rows have times of their own")
    if args.full_feature_names and args.start:
        raise UsageError("--full-feature-names: rows are of one view, their features cannot clash")
    if args.leakage_report and not args.spine:
        raise UsageError("--leakage-report needs a --spine")
    if not args.name and not (args.dry_run or args.leakage_report):
        raise UsageError("--name is required to save")


def parse_splits(args: Namespace) -> "Splits | None":
    """The split that the options describe. Raises: UsageError."""
    from features.training.splits import KeyHashSplit, TimeSplit

    if args.time_split and args.key_split:
        raise UsageError("--time-split and --key-split: a set has one split")
    if args.gap is not None and not args.time_split:
        raise UsageError("--gap is between the parts of a --time-split")
    if (args.split_keys is not None or args.split_salt is not None) and not args.key_split:
        raise UsageError("--split-keys and --split-salt are of a --key-split")
    if args.time_split:
        ends = _parts(args.time_split, option="--time-split")
        gap = timedelta(0) if args.gap is None else parse_duration(args.gap)
        return TimeSplit(ends={name: end or None for name, end in ends.items()}, gap=gap)
    if args.key_split:
        shares = _parts(args.key_split, option="--key-split")
        keys = None if args.split_keys is None else tuple(key.strip() for key in args.split_keys.split(","))
        named = {name: _share(text) for name, text in shares.items()}
        return KeyHashSplit(shares=named, keys=keys, salt=args.split_salt or "")
    return None


def parse_as_of(text: str | None) -> "AsOfPoint":
    """A moment, a Delta version, or Delta versions by view. Raises: UsageError: a version is no number."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    if "=" not in text:
        return text
    pairs = split_pairs(text, option="--as-of")
    for view, version in pairs.items():
        if not version.isdecimal():
            raise UsageError(f"--as-of {view}={version}: {version!r} is not a Delta version")
    return {view: int(version) for view, version in pairs.items()}


def parse_duration(text: str) -> timedelta:
    """A duration out of texts such as 7d, 36h, 30m and 1d12h. Raises: UsageError: it is none."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{text!r} is not a duration; write it as 7d, 36h, 30m or 1d12h")
    try:
        return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta(0))
    except (OverflowError, ValueError) as exc:  # beyond timedelta's days, or Python's digits
        raise UsageError(f"{text!r} is longer than all times there are") from exc


def _parts(text: str, *, option: str) -> dict[str, str]:
    pairs = [split_pair(pair, option=option) for pair in text.split(",")]
    parts = dict(pairs)
    if len(parts) < len(pairs):
        raise UsageError(f"{option} {text} names a part twice")
    return parts


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise UsageError(f"--key-split: {text!r} is not a share, such as 0.8") from exc
