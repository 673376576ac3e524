"""Runs that never told their end: their process was killed, or its machine is gone."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from features.core.times import format_instant
from features.materialization.findings.finding import WARNING, Finding
from features.registry import Run


def find_stuck_runs(running: Sequence[Run], *, now: datetime, hours: int) -> Iterator[tuple[Run, Finding]]:
    """Each run that cannot, or can hardly, be under way, and what to do.

    Args:
        running: that have not ended, as the registry has it. now: the present.
        hours: a run of which this machine cannot tell counts as stuck when it began longer ago.
    """
    for run in running:
        alive = None if run.process is None else run.process.runs()
        began = f"{run.kind} of {run.view} began {format_instant(run.started_at)}"
        if alive is False:
            yield run, _finding(run, f"{began}, and its process is gone: it was killed", "features doctor --fix")
        elif alive is None and now - run.started_at > timedelta(hours=hours):
            place = "" if run.process is None else f" on {run.process.host}, as process {run.process.pid}"
            fix = f"if it does not run any more: features doctor --fail-run {run.run_id}"
            yield run, _finding(run, f"{began}{place}, and has not ended", fix)


def _finding(run: Run, what: str, fix: str) -> Finding:
    return Finding(severity=WARNING, kind="stuck run", where=run.run_id, what=what, fix=fix)
