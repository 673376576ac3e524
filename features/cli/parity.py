"""`features parity`: how two versions of a view compare, key by key."""

from argparse import ArgumentTypeError, Namespace, _SubParsersAction
from typing import TYPE_CHECKING

from features.cli.options import Parser, add_verb, open_store
from features.cli.rendering import fields, table, to_plain
from features.cli.running import Answer

if TYPE_CHECKING:
    from features.materialization.parity_result import Distribution, Parity


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds parity."""
    about = (
        "Compare the latest rows of two versions, at the ends of their logs: which keys each has, which values are "
        "equal, and how they are distributed. Exit code 1 if a limit is exceeded."
    )
    parser = add_verb(
        verbs, "parity", parity, about=about, example="features parity weather@1 weather@2 --sample 10000"
    )
    parser.add_argument("first", metavar="VIEW@N", help="the version that is there")
    parser.add_argument("second", metavar="VIEW@M", help="the version that is to take its place")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="compare N keys, the same ones each time (default: all)"
    )
    parser.add_argument("--keys", metavar="FILE", help="compare the keys in a Parquet file, or in a CSV with a header")
    parser.add_argument("--rtol", type=float, default=0.0, metavar="R",
                        help="floats are equal within that share of the larger (default: only the same)")  # fmt: skip
    parser.add_argument("--max-different", type=_percent, default=0.01, metavar="P%",
                        help="of the keys in both, so many may differ in a feature (default: 1%%)")  # fmt: skip
    parser.add_argument("--max-missing", type=_percent, default=0.01, metavar="P%",
                        help="of the keys of VIEW@N, so many may be missing in VIEW@M (default: 1%%)")  # fmt: skip


def parity(args: Namespace) -> Answer:
    """Compare two versions."""
    with open_store(args) as store:
        found = store.parity(
            args.first,
            args.second,
            sample=args.sample,
            keys=args.keys,
            rtol=args.rtol,
            max_different=args.max_different,
            max_missing=args.max_missing,
        )
    return Answer(text=tell_parity(found), data=to_plain(found.to_dict()), exit_code=0 if found.passed else 1)


def tell_parity(found: "Parity") -> str:
    """A comparison for people: coverage, then features, then the distributions of numbers, then what is too much."""
    from features.materialization.parity_result import show_share

    first, second = found.first, found.second
    parts = [
        fields(
            {
                "keys": "a sample" if found.sampled else "all",
                f"in {first}": f"{found.keys_first}, up to log position {found.position_first}",
                f"in {second}": f"{found.keys_second}, up to log position {found.position_second}",
                "in both": found.keys_both,
                "other event time": show_share(found.events_different, found.keys_both),
                "other type": ", ".join(found.other_types) or "none",
                f"only in {first}": ", ".join(found.only_first) or "none",
                f"only in {second}": ", ".join(found.only_second) or "none",
            }
        )
    ]
    parts.append(
        table(
            ("feature", "type", "different", f"null in {first}", f"null in {second}"),
            [
                [
                    f.name,
                    f.dtype,
                    show_share(f.different, found.keys_both),
                    show_share(f.null_first, found.keys_first),
                    show_share(f.null_second, found.keys_second),
                ]
                for f in found.features
            ],
        )
    )
    numbers = [
        [f.name, version, *_numbers(distribution)]
        for f in found.features
        for version, distribution in ((first, f.first), (second, f.second))
        if distribution is not None
    ]
    if numbers:
        headers = ("feature", "version", "mean", "stddev", "min", "5%", "25%", "50%", "75%", "95%", "max")
        parts.append(table(headers, numbers))
    parts.append("\n".join(["past the limits:", *(f"  {problem}" for problem in found.problems)])
                 if found.problems else "within the limits")  # fmt: skip
    return "\n\n".join(parts)


def _numbers(found: "Distribution") -> list[str | None]:
    quantiles = found.quantiles or (None,) * 5
    values = (found.mean, found.stddev, found.min, *quantiles, found.max)
    return [None if value is None else f"{value:.6g}" for value in values]


def _percent(text: str) -> float:
    """A share of a text such as `1%`. Raises: ArgumentTypeError: it is none."""
    number, sign, rest = text.partition("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if not sign or rest or not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} is no share; write it in percent, 0% to 100%")
    return share
