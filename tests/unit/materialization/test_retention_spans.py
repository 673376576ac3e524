"""What retention removes, and that no reader notices: the rule as a function over events, and the oracle over rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from features.core.times import from_micros
from features.materialization.maintenance.spans import Hold, Span, find_holds, spans_to_remove
from features.registry import StoredManifest
from tests.applied_views import applied_view
from tests.oracle import Row, as_of, online, status_of

MOST = 30
TIMES = st.integers(0, MOST)


def inside(span: Span, event: int) -> bool:
    return (span.start is None or event >= span.start) and (span.end is None or event < span.end)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start, end = draw(st.none() | TIMES), draw(st.none() | TIMES)
    return Span(start=start, end=end if start is None or end is None else max(start, end))


@given(cutoff=TIMES, held=st.lists(spans(), max_size=4))
def test_what_is_removed_lies_before_the_cutoff_and_in_no_hold(cutoff: int, held: list[Span]) -> None:
    holds = [Hold(training_set=f"set@{n}", span=span) for n, span in enumerate(held)]
    removed = spans_to_remove(cutoff, holds)
    for event in range(-2, MOST + 3):
        wanted = event < cutoff and not any(inside(span, event) for span in held)
        assert sum(inside(span, event) for span in removed) == wanted


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """Rows of one key: corrections, retractions, late rows, and several intervals of one event."""
    rows = []
    for seq in range(draw(st.integers(0, 12))):
        event = draw(TIMES)
        interval = event + draw(st.integers(0, 6))
        created = interval + draw(st.integers(0, 10))
        rows.append(Row("k", event, created, interval, seq, draw(st.booleans()), seq))
    return rows


@given(
    log=logs(),
    now=st.integers(10, 50),
    lookback=st.integers(1, 8),
    longer=st.integers(0, 8),
    held=st.lists(spans(), max_size=2),
    known_at=st.sampled_from(["created", "event"]),
)
def test_no_reader_within_reach_notices_a_retention(
    log: list[Row], now: int, lookback: int, longer: int, held: list[Span], known_at: str
) -> None:
    retention = lookback + longer
    holds = [Hold(training_set="set@1", span=span) for span in held]
    removed = spans_to_remove(now - retention, holds)
    left = [row for row in log if not any(inside(span, row.event) for span in removed)]
    rule: dict[str, Any] = {"lookback": lookback, "known_at": known_at}
    for t in range(now - retention + lookback, now + 30):
        assert as_of(left, "k", t, **rule) == as_of(log, "k", t, **rule)
        assert (status_of(left, "k", t, **rule) == 2) == (status_of(log, "k", t, **rule) == 2)
    # The row online is the same, or one that has reached the end of its TTL.
    before, after = online(log, "k"), online(left, "k")
    assert before == after or (before is not None and before.event < now - retention)
    assert after is None or after == before or after.event < now - retention


@given(log=logs(), now=st.integers(10, 50), first=TIMES, length=st.integers(0, 10), position=st.integers(0, 12))
def test_a_held_set_is_rebuilt_the_same(log: list[Row], now: int, first: int, length: int, position: int) -> None:
    lookback = 4
    view = applied_view(lookback=timedelta(microseconds=lookback))
    times = {"min": from_micros(first).isoformat(), "max": from_micros(first + length).isoformat()}
    (hold,) = find_holds([manifest(times=times)], view)
    removed = spans_to_remove(now - 5, [hold])
    left = [row for row in log if not any(inside(span, row.event) for span in removed)]
    for t in range(first, first + length + 1):
        for known_at in ("created", "event"):
            seen = [[row for row in rows if row.seq <= position] for rows in (left, log)]
            one, other = (as_of(rows, "k", t, lookback=lookback, known_at=known_at) for rows in seen)
            assert one == other


def manifest(*, held: bool = True, times: object = None, **changes: Any) -> StoredManifest:
    content = {
        "kind": "join",
        "rows": 3,
        "views": [{"view": "spend@1", "position": 7}],
        "statistics": {"event_timestamp": times},
        **changes,
    }
    made_at = datetime(2024, 1, 1, tzinfo=UTC)
    return StoredManifest(name="set", number=1, content=content, held=held, created_at=made_at)


def spans_of(*manifests: StoredManifest, lookback: timedelta = timedelta(hours=1)) -> list[Span]:
    return [hold.span for hold in find_holds(manifests, applied_view(lookback=lookback))]


def test_only_held_sets_of_the_version_hold() -> None:
    times = {"min": "1970-01-01T02:00:00+00:00", "max": "1970-01-01T03:00:00+00:00"}
    hour = 3_600_000_000
    assert spans_of(manifest(times=times)) == [Span(start=hour, end=3 * hour + 1)]
    assert spans_of(manifest(times=times, held=False)) == []
    assert spans_of(manifest(times=times, views=[{"view": "spend@2", "position": 7}])) == []
    # The log was empty when it was read, or the spine was.
    assert spans_of(manifest(times=times, views=[{"view": "spend@1", "position": 0}])) == []
    assert spans_of(manifest(rows=0)) == []


def test_rows_of_a_range_hold_that_range() -> None:
    bounds = {"start": "1970-01-01T00:00:01+00:00", "end": "1970-01-01T00:00:02+00:00"}
    assert spans_of(manifest(kind="rows", **bounds)) == [Span(start=1_000_000, end=2_000_000)]


def test_a_manifest_that_does_not_say_holds_everything() -> None:
    everything = [Span(start=None, end=None)]
    times = {"min": "1970-01-01T02:00:00+00:00", "max": None}
    assert spans_of(manifest(times=times)) == everything
    assert spans_of(manifest(statistics={})) == everything
    assert spans_of(manifest(views=None)) == everything
    assert spans_of(replace(manifest(), content={"views": [{"view": "spend@1"}]})) == everything


def test_a_lookback_longer_than_time_itself_holds_from_the_beginning() -> None:
    times = {"min": "2024-01-01T00:00:00+00:00", "max": "2024-01-01T00:00:00+00:00"}
    (span,) = spans_of(manifest(times=times), lookback=timedelta.max)
    assert span.start is None
