"""Runs and erasures that never told their end: their process was killed, or its machine is gone."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from features.core.times import format_instant
from features.materialization.findings.finding import WARNING, Finding
from features.registry import Erasure, Run


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


def find_open_erasures(erasures: Sequence[Erasure]) -> Iterator[Finding]:
    """Each erasure that has not ended: it may be under way, or was killed, or came back with a backup."""
    for erasure in erasures:
        if not erasure.is_done:
            yield Finding(
                severity=WARNING,
                kind="open erasure",
                where=erasure.erasure_id,
                what=f"rows of {erasure.count} keys of {erasure.entity} are to go since "
                f"{format_instant(erasure.requested_at)}, and may still be there",
                fix=f"if it does not run any more: features erase --resume {erasure.erasure_id} --yes",
            )


def _finding(run: Run, what: str, fix: str) -> Finding:
    return Finding(severity=WARNING, kind="stuck run", where=run.run_id, what=what, fix=fix)
