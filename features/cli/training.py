"""`features training-set` and `features rebuild`: saved sets of feature values as of each row's time."""

from argparse import ArgumentParser, Namespace, _SubParsersAction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.cli.options import Parser, add_verb, open_store, parse_features
from features.cli.rendering import fields, to_plain
from features.cli.running import Answer
from features.errors import StorageError, UsageError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from features.store import FeatureStore
    from features.training.saved import Manifest


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds training-set and rebuild."""
    about = "Extract feature values as of each row of a spine, and save them with a manifest."
    example = "features training-set --features delay_model --spine .state/spine.parquet --name delays"
    add_training_set(add_verb(verbs, "training-set", training_set, about=about, example=example))

    about = "Compute a saved training set again from its manifest, and check that it is the same."
    parser = add_verb(verbs, "rebuild", rebuild, about=about, example="features rebuild delays@1 --output delays")
    parser.add_argument("name", metavar="NAME[@N]", help="of the training set; without a number, the latest")
    parser.add_argument("--output", metavar="PATH", help="write the rows there, as Parquet")


def add_training_set(parser: ArgumentParser) -> None:
    """The arguments of an extraction, which a verb and a job share."""
    parser.add_argument("--features", required=True, metavar="REF[,REF]", help="a service, or view:feature references")
    parser.add_argument("--spine", required=True, metavar="PATH", help="Parquet: join keys and event_timestamp")
    parser.add_argument("--name", required=True, help="of the training set; each save gets the next number")
    parser.add_argument("--known-at", choices=("created", "event"), default="created",
                        help="event: what was true, whether or not anyone could know it (leaks)")  # fmt: skip
    parser.add_argument("--as-of", metavar="TIME", help="read the logs as they were committed then (default: now)")
    parser.add_argument("--full-feature-names", action="store_true", help="name columns view__feature")
    parser.add_argument("--no-hold", action="store_true", help="do not protect what a rebuild needs")
    parser.add_argument("--output", metavar="PATH", help="write the rows there too, as Parquet")


def training_set(args: Namespace) -> Answer:
    """Extract and save a set."""
    with open_store(args) as store:
        manifest = extract(store, args)
    shown = {"saved": manifest.reference, **_facts(manifest)}
    return Answer(text=fields(shown), data={"reference": manifest.reference, **to_plain(manifest)})


def rebuild(args: Namespace) -> Answer:
    """Compute a saved set again."""
    check_output(args.output)
    with open_store(args) as store:
        rebuilt = store.rebuild(args.name)
        if args.output is not None:
            write_rows(rebuilt.to_spark(), args.output)
    found = {"name": args.name, "content_hash": rebuilt.content_hash, "output": args.output}
    text = f"{args.name}: rebuilt, and equal to what was saved (content hash {rebuilt.content_hash})"
    return Answer(text=text + (f"; written to {args.output}" if args.output else ""), data=found)


def extract(store: "FeatureStore", args: Namespace) -> "Manifest":
    """Extract and save the set that the arguments of `add_training_set` describe."""
    from features.training.saved import read_saved

    check_output(args.output)
    found = store.get_historical_features(
        entity_df=_absolute(args.spine),
        features=parse_features(args.features),
        known_at=args.known_at,
        as_of=args.as_of,
        full_feature_names=args.full_feature_names,
    )
    manifest = found.save(args.name, hold=not args.no_hold)
    if args.output is not None:
        write_rows(read_saved(store.spark, manifest.path), args.output)
    return manifest


def check_output(path: str | None) -> None:
    """Raises: UsageError: something is there already; said before the work, not after it."""
    if path is not None and "://" not in path and Path(path).exists():
        raise UsageError(f"--output {path} exists; remove it, or name another folder")


def write_rows(frame: "DataFrame", path: str) -> None:
    """Write rows as Parquet. Raises: StorageError: the folder exists, or cannot be written."""
    from features.stores.spark_errors import first_line, spark_errors

    try:
        frame.write.parquet(_absolute(path))
    except spark_errors() as exc:
        raise StorageError(f"cannot write to {path}: {first_line(exc)}; name another folder with --output") from exc


def _absolute(path: str) -> str:
    """Spark's own working folder is that of the process that started its JVM."""
    return path if "://" in path else str(Path(path).absolute())


def _facts(manifest: "Manifest") -> dict[str, Any]:
    return {
        "rows": manifest.rows,
        "content hash": manifest.content_hash,
        "known at": manifest.known_at,
        "columns": ", ".join(manifest.columns),
        "held": "yes" if manifest.held else "no",
        "path": manifest.path,
    }
