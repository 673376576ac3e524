"""`features training-set` and `features rebuild`: sets of feature values, saved with all that rebuilding them takes."""

import os
from argparse import Namespace, _SubParsersAction
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.cli.options import Parser, add_verb, open_store, parse_features
from features.cli.rendering import fields, table, to_plain
from features.cli.running import Answer
from features.cli.training_options import add_extraction, check_extraction, parse_as_of, parse_splits
from features.errors import FeatureStoreError, RegistryError, StorageError, UsageError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from features.store import FeatureStore
    from features.training.feature_rows import FeatureRows
    from features.training.manifest import Manifest
    from features.training.training_set import TrainingSet

_ACTIONS = """\
actions on saved sets:
  features training-set list
  features training-set show delays@1
  features training-set hold delays@1       keep what rebuilding it takes
  features training-set release delays@1
  features training-set rebuild delays@1 --output delays
  features training-set leftovers           folders that no saved set owns"""


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds training-set and rebuild."""
    about = "Extract feature values, and save them with a manifest; or look after what was saved."
    example = "features training-set --features delay_model --spine .state/spine.parquet --name delays"
    parser = add_verb(verbs, "training-set", training_set, about=about, example=example)
    parser.epilog = f"{parser.epilog}\n\n{_ACTIONS}"
    parser.add_argument("action", nargs="?", choices=("save", *_ON_SAVED), default="save", metavar="ACTION",
                        help="save (the default), list, show, hold, release, rebuild or leftovers")  # fmt: skip
    parser.add_argument("saved", nargs="?", metavar="NAME[@N]", help="of a saved set; without a number, the latest")
    add_extraction(parser)

    about = "Compute a saved training set again from its manifest, and check that it is the same."
    parser = add_verb(verbs, "rebuild", rebuild, about=about, example="features rebuild delays@1 --output delays")
    parser.add_argument("saved", metavar="NAME[@N]", help="of the training set; without a number, the latest")
    parser.add_argument("--output", metavar="PATH", help="write the rows there, as Parquet")


def training_set(args: Namespace) -> Answer:
    """Extract a set, or do something with one that was saved."""
    if args.action == "save":
        if args.saved is not None:
            raise UsageError(f"features training-set: {args.saved!r} is one word too many; a new set takes --name")
        return save(args)
    if args.action == "leftovers" and args.saved is not None:
        raise UsageError(f"features training-set leftovers: {args.saved!r} is one word too many; it lists all of them")
    if args.action not in ("list", "leftovers") and args.saved is None:
        raise UsageError(f"features training-set {args.action}: which set? write name or name@number")
    return _ON_SAVED[args.action](args)


def save(args: Namespace) -> Answer:
    """Extract and save a set; or tell what that would read, or leak."""
    with open_store(args) as store:
        told, text = extract(store, args)
    return Answer(text=text, data=told)


def extract(store: "FeatureStore", args: Namespace) -> tuple[Mapping[str, Any], str]:
    """Do what the options of `add_extraction` describe; the result for machines, and for people."""
    from features.training.training_set import TrainingSet

    check_extraction(args)
    check_output(args.output)
    splits = parse_splits(args)
    rows = ask(store, args)
    if args.dry_run:
        estimate = rows.estimate()
        return {"dry_run": to_plain(estimate)}, f"{rows.explain()}\n{estimate}"
    if args.leakage_report and isinstance(rows, TrainingSet):
        report = rows.leakage_report()
        return {"leakage": to_plain(report)}, str(report)
    manifest = rows.save(args.name, hold=not args.no_hold, format=args.format, splits=splits)
    if args.output is not None:
        try:
            write_rows(read_saved(store, manifest), args.output)
        except FeatureStoreError as exc:
            again = f"features rebuild {manifest.reference} --output PATH"
            raise StorageError(f"{manifest.reference} was saved; but {exc}. Do not save again: `{again}`") from exc
    facts = describe(manifest)
    return {"reference": manifest.reference, **brief(manifest)}, fields({"saved": manifest.reference, **facts})


def ask(store: "FeatureStore", args: Namespace) -> "TrainingSet | FeatureRows":
    """The rows that the options describe, not yet computed."""
    features, as_of = parse_features(args.features), parse_as_of(args.as_of)
    if args.spine:
        return store.get_historical_features(
            entity_df=_absolute(args.spine),
            features=features,
            known_at=args.known_at,
            as_of=as_of,
            full_feature_names=args.full_feature_names,
        )
    if args.latest:
        return store.get_latest_features(
            features=features,
            at=args.at,
            known_at=args.known_at,
            as_of=as_of,
            full_feature_names=args.full_feature_names,
        )
    return store.get_feature_rows(
        features=features, start=args.start, end=args.end, at=args.at, known_at=args.known_at, as_of=as_of
    )


def rebuild(args: Namespace) -> Answer:
    """Compute a saved set again."""
    check_output(args.output)
    with open_store(args) as store:
        rebuilt = store.rebuild(args.saved)
        if args.output is not None:
            write_rows(rebuilt.to_spark(), args.output)
    found = {"name": args.saved, "content_hash": rebuilt.content_hash, "output": args.output}
    text = f"{args.saved}: rebuilt, and equal to what was saved (content hash {rebuilt.content_hash})"
    return Answer(text=text + (f"; written to {args.output}" if args.output else ""), data=found)


def list_sets(args: Namespace) -> Answer:
    """All saved sets, or those of a name; those whose manifests cannot be read are named beside them."""
    found, damaged = [], {}
    with open_store(args) as store:
        for reference in store.registry.manifest_references():
            if args.saved not in (None, reference, reference.partition("@")[0]):
                continue
            try:
                found.append(store.training_set(reference))
            except RegistryError as exc:
                damaged[reference] = str(exc)
    headers = ("set", "created", "rows", "known at", "format", "held", "erased by", "content hash")
    shown = [
        (m.reference, m.created_at, m.rows, m.known_at, m.format, "yes" if m.held else "no", m.erasure,
         m.content_hash[:12])
        for m in found
    ]  # fmt: skip
    text = table(headers, shown) if shown else "no training set is saved" if not damaged else ""
    text = "\n\n".join(part for part in (text, "\n".join(damaged.values())) if part)
    data: dict[str, Any] = {"training_sets": [{"reference": m.reference, **brief(m)} for m in found]}
    if damaged:
        data["damaged"] = [{"reference": reference, "message": message} for reference, message in damaged.items()]
    return Answer(text=text, data=data, exit_code=1 if damaged else 0)


def leftovers(args: Namespace) -> Answer:
    """Folders of saved files that no manifest names."""
    with open_store(args) as store:
        found = store.training_set_leftovers()
    about = (
        "no training set of this registry owns these folders. A save that runs has one too, and another registry on "
        "this\nwarehouse may own them: ask there before you remove any"
    )
    text = "\n".join([*found, "", about]) if found else "nothing is left over: this registry's sets own every folder"
    return Answer(text=text, data={"leftovers": list(found)})


def show(args: Namespace) -> Answer:
    """All that a manifest holds."""
    with open_store(args) as store:
        manifest = store.training_set(args.saved)
    views = [(v["view"], v["position"], v["delta_version"], ", ".join(v["features"])) for v in _views(manifest)]
    # A manifest's keys are sorted by name.
    told = ("nulls", "nans", "min", "max", "mean")
    statistics = [(name, *map(s.get, told)) for name, s in manifest.content.get("statistics", {}).items()]
    parts = [
        fields({"set": manifest.reference, **describe(manifest)}),
        table(("view", "log position", "Delta version", "features"), views),
        table(("column", "nulls", "NaNs", "min", "max", "mean"), statistics) if statistics else "",
    ]
    data = {"reference": manifest.reference, **to_plain(manifest)}
    return Answer(text="\n\n".join(part for part in parts if part), data=data)


def hold(args: Namespace) -> Answer:
    """Keep what rebuilding a set takes."""
    with open_store(args) as store:
        store.hold(args.saved)
        reference = store.training_set(args.saved).reference
    return Answer(text=f"{reference}: held", data={"reference": reference, "held": True})


def release(args: Namespace) -> Answer:
    """End a hold."""
    with open_store(args) as store:
        store.release(args.saved)
        reference = store.training_set(args.saved).reference
    return Answer(text=f"{reference}: released", data={"reference": reference, "held": False})


_ON_SAVED: dict[str, Callable[[Namespace], Answer]] = {
    "list": list_sets, "show": show, "hold": hold, "release": release, "rebuild": rebuild,
    "leftovers": leftovers,
}  # fmt: skip


def check_output(path: str | None) -> None:
    """Raises: UsageError: something is there already, or nothing can be; said before the work, not after it."""
    if path is None or "://" in path:
        return
    output = Path(path).absolute()
    if os.path.lexists(output):
        raise UsageError(f"--output {path} exists; remove it, or name another folder")
    above = next(folder for folder in output.parents if os.path.lexists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"--output {path}: {above} is no folder that you can write to; name another")


def read_saved(store: "FeatureStore", manifest: "Manifest") -> "DataFrame":
    """The files of a saved set. Raises: StorageError: they are gone."""
    from features.stores.spark_errors import first_line, spark_errors

    try:
        return store.spark.read.format(manifest.format).load(manifest.path)
    except spark_errors() as exc:
        raise StorageError(f"the saved files at {manifest.path} cannot be read: {first_line(exc)}") from exc


def write_rows(frame: "DataFrame", path: str) -> None:
    """Write rows as Parquet. Raises: StorageError: the folder exists, or cannot be written."""
    from features.stores.spark_errors import first_line, spark_errors

    try:
        frame.write.parquet(_absolute(path))
    except spark_errors() as exc:
        raise StorageError(f"cannot write to {path}: {first_line(exc)}; name another folder with --output") from exc


def brief(manifest: "Manifest") -> dict[str, Any]:
    """A manifest for machines, without its long lists, which `show` has."""
    told: dict[str, Any] = to_plain(manifest)
    del told["content"]
    return {**told, "parts": dict(manifest.parts)}


def describe(manifest: "Manifest") -> dict[str, Any]:
    """A manifest for people."""
    content = manifest.content
    told = {
        "created": manifest.created_at,
        "rows": manifest.rows,
        "content hash": manifest.content_hash,
        "known at": manifest.known_at,
        "as of": content.get("as_of"),
        "service": content.get("service"),
        "columns": ", ".join(manifest.columns),
        "parts": ", ".join(f"{part} {rows}" for part, rows in manifest.parts.items()) or None,
        "held": "yes" if manifest.held else "no",
        "erased by": None if manifest.erasure is None else f"{manifest.erasure}, so it cannot be rebuilt",
        "format": manifest.format,
        "path": manifest.path,
    }
    return {name: value for name, value in told.items() if value is not None}


def _views(manifest: "Manifest") -> list[dict[str, Any]]:
    return [{"delta_version": None, **view} for view in manifest.content["views"]]


def _absolute(path: str) -> str:
    """Spark's own working folder is that of the process that started its JVM."""
    return path if "://" in path else str(Path(path).absolute())
