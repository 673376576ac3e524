"""`features quality VIEW`: what the gate said of recent runs, as the registry keeps it."""

from argparse import Namespace, _SubParsersAction
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.cli.options import Parser, add_verb, open_store, parse_limit
from features.cli.rendering import table, to_plain
from features.cli.running import Answer
from features.errors import NotFoundError

if TYPE_CHECKING:
    from features.registry import Run

_SHOWN_RUN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedRun:
    """One run, and how each rule fared in it: as `RuleResult.to_dict` has it."""

    run: "Run"
    results: tuple[Mapping[str, Any], ...]

    @property
    def failures(self) -> list[Mapping[str, Any]]:
        """The results that are not good, as they were recorded."""
        return [result for result in self.results if result["failing"]]


def add_verbs(verbs: "_SubParsersAction[Parser]") -> None:
    """Adds quality."""
    about = "Show what the gate said of a view's recent runs: each rule that failed, by interval, with a few keys."
    parser = add_verb(verbs, "quality", quality, about=about, example="features quality weather --limit 3")
    parser.add_argument("view", metavar="VIEW", help="a view's name, or name@version")
    parser.add_argument("--run", default="", metavar="RUN", help="only the run of that id, or of ids that begin so")
    parser.add_argument("--limit", type=parse_limit, default=5, metavar="N", help="runs at most (default: %(default)s)")


def quality(args: Namespace) -> Answer:
    """What the gate said of recent runs, the last one first."""
    with open_store(args) as store:
        registry = store.registry
        view = registry.view(args.view)
        runs = registry.judged_runs(view, run_id=args.run, limit=args.limit)
        judged = [JudgedRun(run=run, results=registry.validations(run.run_id)) for run in runs]
    if args.run and not judged:
        raise NotFoundError(
            f"no run {args.run!r} of {view.reference} was judged; `features quality {args.view}` lists them"
        )
    text = "\n\n".join(map(tell_run, judged)) or f"{view.reference}: the gate has judged no run yet"
    return Answer(text=text, data={"view": view.reference, "runs": to_plain(judged)})


def tell_run(judged: JudgedRun) -> str:
    """How the rules fared in one run: a line for all that held, and a table of the others."""
    run, failures = judged.run, judged.failures
    broken = {(failure["column"], failure["rule"]) for failure in failures}
    held = {(result["column"], result["rule"]) for result in judged.results} - broken
    span = f" of [{to_plain(run.start)}, {to_plain(run.end)})" if run.start is not None else ""
    head = f"run {run.run_id[:_SHOWN_RUN]}, {to_plain(run.started_at)}: {run.kind}{span}, {run.status}; "
    if not failures:
        return f"{head}all {len(held)} rules hold"
    headers = ("column", "rule", "severity", "interval ends", "failing", "rows", "found")
    rows = [
        [f["column"], f["rule"], f["severity"], f["interval_end"] or None, f["failing"], f["rows"],
         f.get("detail") or "; ".join(f.get("keys", ())) or None]
        for f in failures
    ]  # fmt: skip
    return f"{head}{len(broken)} of {len(broken | held)} rules fail\n{table(headers, rows)}"
