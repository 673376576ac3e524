"""What a commit to one view's log makes stale in the views that read it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from features.core.aggregations import longest_window
from features.core.applied import AppliedView
from features.core.schedule import Interval
from features.core.times import MICROSECOND, from_micros, later
from features.core.upstreams import view_sources
from features.registry import Registry
from features.stores.log_state import LogState


def mark_readers(registry: Registry, view: AppliedView, ends: Iterable[datetime]) -> None:
    """Mark what was built of the rows of some intervals as stale, in every version of every view that reads them.

    Args: ends: of the intervals of the view that rows were appended to.
    """
    touched = sorted(ends)
    ranges: list[tuple[AppliedView, datetime, datetime]] = []
    for reader in registry.readers_of(view) if touched else ():
        # Of the newest interval no reader has built anything yet, as a rule.
        built = registry.built_span(reader)
        if built is not None:
            reached = _reached(reader, view.reference, touched)
            ranges += [(reader, last, until) for last, until in reached if last < built.end and until > built.start]
    registry.mark_all_stale(ranges)


def mark_behind(registry: Registry, log: LogState, view: AppliedView, span: Interval, reads: Mapping[str, int]) -> None:
    """Mark those intervals of a run as stale that rows were meant for which the run has not read.

    They were appended to what it read after the commit that it read: while it ran, or since it was told to read an
    earlier one. Whoever appended them could not know of intervals that were not built yet.

    Args:
        log: of the view.
        span: of the run, which the ledger was told of.
        reads: the positions that the run read, by `name@version`.
    """
    ranges = []
    for reference, position in reads.items():
        upstream = log.beside(registry.view(reference))
        snapshot = upstream.snapshot()
        if snapshot is None or snapshot.position <= position:
            continue
        notes = [commit.note for commit in upstream.commits(after=position)]
        if len(notes) < snapshot.position - position:
            # Delta has forgotten what some of the commits brought.
            ranges.append((view, span.start, span.end))
        ends = {from_micros(end) for note in notes for _, end, _, rows, *_ in note.get("intervals", ()) if rows}
        for last, until in _reached(view, reference, sorted(ends)):
            if last < span.end and until > span.start:
                ranges.append((view, max(last, span.start), min(until, span.end)))
    registry.mark_all_stale(ranges)


def _reached(reader: AppliedView, reference: str, ends: Iterable[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Where intervals of a reader end and start, as `mark_stale` takes it, that read rows of these intervals."""
    for source in view_sources(reader):
        if source.view == reference:
            reach = source.history + longest_window(reader.aggregations)
            for end in ends:
                yield end - MICROSECOND, later(end, reach)
