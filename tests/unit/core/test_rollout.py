import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import DType, Feature
from features.core.rollout import (
    ViewRollout,
    format_share,
    parse_share,
    promote,
    roll_back,
    set_shadow,
    shared_features,
    start_canary,
)
from features.core.rollout_counts import ReadLog, ShadowCount, ShadowTally, ViewRead
from features.errors import RefusedError, UsageError
from tests.applied_views import applied_view

FIRST = ViewRollout(view="spend", live=1)


def test_promoting_keeps_what_was_live_before_and_ends_a_canary():
    canary = start_canary(FIRST, 2, 500)

    assert promote(canary, 2) == ViewRollout(view="spend", live=2, earlier=(1,))
    assert promote(promote(canary, 3), 2) == ViewRollout(view="spend", live=2, earlier=(1, 3))


def test_promoting_what_is_live_changes_nothing_unless_that_leaves_a_canary_unclear():
    assert promote(FIRST, 1) == FIRST
    with pytest.raises(RefusedError, match="spend@2 in canary; `features rollback spend`"):
        promote(start_canary(FIRST, 2, 500), 1)


def test_a_share_is_changed_and_the_salt_stays():
    small = start_canary(FIRST, 2, 500)
    large = start_canary(small, 2, 2000)

    assert (large.live, large.candidate, large.share, large.salt) == (1, 2, 2000, small.salt)
    assert start_canary(roll_back(large), 2, 500) == small


def test_canary_of_what_is_live_or_beside_another_canary_is_refused():
    with pytest.raises(RefusedError, match="spend@1 is live already"):
        start_canary(FIRST, 1, 500)
    with pytest.raises(RefusedError, match="spend@2 is in canary; promote it or end it"):
        start_canary(start_canary(FIRST, 2, 500), 3, 500)


@pytest.mark.parametrize("share", [0, -1, 10_001])
def test_canary_of_no_key_or_more_than_all_is_wrong_usage(share):
    with pytest.raises(UsageError, match="more than 0% and at most 100%"):
        start_canary(FIRST, 2, share)


def test_rollback_ends_a_canary_first_then_walks_back_what_was_live():
    now = start_canary(promote(promote(FIRST, 2), 3), 4, 500)

    steps = []
    for _ in range(3):
        now = roll_back(now)
        steps.append((now.live, now.candidate))

    assert steps == [(3, None), (2, None), (1, None)]
    with pytest.raises(RefusedError, match="spend@1 has been live from the start"):
        roll_back(now)


def test_a_version_is_no_shadow_of_itself():
    shadowed = set_shadow(FIRST, 2)

    assert promote(shadowed, 2).shadow is None
    assert promote(shadowed, 3).shadow == 2
    assert roll_back(set_shadow(promote(FIRST, 2), 1)).shadow is None
    with pytest.raises(RefusedError, match="spend@1 is live"):
        set_shadow(FIRST, 1)


@given(st.integers(1, 10_000))
def test_a_share_is_read_as_it_is_written(share):
    assert parse_share(format_share(share)) == share


@pytest.mark.parametrize(("text", "share"), [("5%", 500), (" 0.25 % ", 25), ("100%", 10_000), ("1e1%", 1000)])
def test_a_share_is_written_in_percent(text, share):
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["5", "0%", "0.001%", "100.01%", "-5%", "five%", "5%%", "nan%", "Infinity%", "%", ""])
def test_text_that_is_no_share_is_wrong_usage(text):
    with pytest.raises(UsageError, match="is no share of keys; write 5%"):
        parse_share(text)


def test_features_are_shared_where_name_and_type_are_equal():
    other = applied_view(features={"amount": DType.FLOAT64, "visits": DType.STRING})
    asked = [Feature("visits", DType.INT64), Feature("amount", DType.FLOAT64), Feature("new", DType.INT64)]

    assert [feature.name for feature in shared_features(asked, other)] == ["amount"]


def add(tally, live, shadow, live_found, shadow_found):
    return tally.add(
        view="spend", live=1, shadow=2, feature="amount",
        live_values=live, live_found=live_found, shadow_values=shadow, shadow_found=shadow_found,
    )  # fmt: skip


def test_shadow_counts_rows_of_one_version_as_missing_and_unequal_values_as_different():
    nan, yes, no = float("nan"), True, False
    tally = ShadowTally()

    found = add(
        tally,
        [1.0, 2.0, None, None, nan, [nan, 1.0], 5.0, None],
        [1.0, 2.5, None, 3.0, nan, [nan, 1.0], None, None],
        [yes, yes, yes, yes, yes, yes, yes, no],
        [yes, yes, yes, yes, yes, yes, no, no],
    )

    assert found == (8, 2, 1)
    assert add(tally, [1.0], [2.0], [yes], [yes]) == (1, 1, 0)
    (count,) = tally.take()
    assert (count.compared, count.different, count.missing) == (9, 3, 1)
    assert tally.take() == ()


def test_counts_that_could_not_be_stored_are_counted_again():
    tally = ShadowTally()
    add(tally, [1.0], [2.0], [True], [True])
    taken = tally.take()
    add(tally, [1.0], [1.0], [True], [True])

    tally.restore(taken)

    expected = ShadowCount(view="spend", live=1, shadow=2, feature="amount", compared=2, different=1, missing=0)
    assert tally.take() == (expected,)


def test_each_version_and_consumer_is_reported_once_with_a_time_that_is_not_before_its_read():
    times = iter([datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in range(1, 5)])
    reads = ReadLog(clock=lambda: next(times))
    assert not reads.has_news
    for version in (1, 2, 1):
        reads.add(view="spend", version=version, consumer="checkout")
    assert reads.has_news

    taken = reads.take()

    def read(version, hour):
        at = datetime(2024, 1, 1, hour, tzinfo=UTC)
        return ViewRead(view="spend", version=version, consumer="checkout", last_read_at=at)

    assert set(taken) == {read(1, 1), read(2, 1)}
    assert reads.take() == ()
    reads.add(view="spend", version=1, consumer="checkout")
    assert not reads.has_news
    reads.restore(taken)
    assert set(reads.take()) == {read(1, 3), read(2, 3)}
    reads.add(view="spend", version=1, consumer="another")
    assert reads.has_news


def test_no_read_is_lost_that_comes_while_they_are_taken():
    reads, taken = ReadLog(), []
    threads = [
        threading.Thread(target=lambda name=name: [reads.add(view="v", version=n, consumer=name) for n in range(3000)])
        for name in "abc"
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.extend(reads.take())
    taken.extend(reads.take())

    assert {(read.version, read.consumer) for read in taken} == {(n, name) for n in range(3000) for name in "abc"}
