import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import DType
from features.core.arms import arm, picks_candidate
from features.core.rollout import ViewRollout

CANARY = ViewRollout(view="spend", live=1, candidate=2, share=5000, salt="2")
STRING = (DType.STRING,)


def place(*parts: bytes) -> int:
    """The key's place by the words of the documentation."""
    content = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def smallest_share(rollout, key, dtypes):
    """The least share, in basis points, in which the candidate answers for a key."""
    low, high = 1, 10_000
    while low < high:
        middle = (low + high) // 2
        if arm(replace(rollout, share=middle), key, dtypes) == "candidate":
            high = middle
        else:
            low = middle + 1
    return low


@pytest.mark.parametrize(
    ("key", "dtypes", "parts"),
    [
        (("c1",), STRING, [b"c1"]),
        (("Zoë",), STRING, ["Zoë".encode()]),
        (("a", "bc"), STRING * 2, [b"a", b"bc"]),
        (("ab", "c"), STRING * 2, [b"ab", b"c"]),
        ((-5,), (DType.INT32,), [b"-5"]),
        ((2**62,), (DType.INT64,), [b"4611686018427387904"]),
        ((True,), (DType.BOOL,), [b"true"]),
        ((False,), (DType.BOOL,), [b"false"]),
        ((b"\x00\xff",), (DType.BYTES,), [b"\x00\xff"]),
        ((date(2024, 1, 31),), (DType.DATE,), [b"2024-01-31"]),
        ((datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC),), (DType.TIMESTAMP,), [b"1000005"]),
        ((datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),), (DType.TIMESTAMP,), [b"0"]),
        ((Decimal("12.5"),), (DType.DECIMAL(6, 2),), [b"12.50"]),
        ((3,), (DType.DECIMAL(6, 2),), [b"3.00"]),
        ((Decimal("-0.00"),), (DType.DECIMAL(6, 2),), [b"0.00"]),
        ((Decimal("-12345678901234567890123456789012345.678"),), (DType.DECIMAL(38, 3),),
         [b"-12345678901234567890123456789012345.678"]),
    ],
)  # fmt: skip
def test_a_keys_place_is_the_hash_of_its_parts(key, dtypes, parts):
    at = place(b"spend", b"2", *parts)

    # In the least share that reaches the place, and not in the one below it.
    assert smallest_share(CANARY, key, dtypes) == at * 10_000 // 2**64 + 1


def test_places_are_what_they_were():
    """The examples of docs/rollout.md: a release that moves keys between arms would break every canary."""
    cases = {
        ("c1",): STRING,
        ("Zoë",): STRING,
        ("JFK", 42): (DType.STRING, DType.INT32),
        (Decimal("12.5"),): (DType.DECIMAL(6, 2),),
    }

    assert {key: smallest_share(CANARY, key, dtypes) for key, dtypes in cases.items()} == {
        ("c1",): 6902,
        ("Zoë",): 4412,
        ("JFK", 42): 4389,
        (Decimal("12.5"),): 2970,
    }


@given(st.lists(st.text(), min_size=1), st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_greater_share_keeps_the_keys_of_a_smaller_one(names, one, other):
    keys = [(name,) for name in names]
    small = picks_candidate(replace(CANARY, share=min(one, other)), keys, STRING)
    large = picks_candidate(replace(CANARY, share=max(one, other)), keys, STRING)

    assert all(kept for was, kept in zip(small, large, strict=True) if was)


def test_the_share_of_keys_is_near_what_was_asked_and_all_are_taken_at_100_percent():
    keys = [(f"customer {number}",) for number in range(20_000)]

    # Four standard deviations of a binomial.
    assert sum(picks_candidate(replace(CANARY, share=500), keys, STRING)) == pytest.approx(1000, abs=124)
    assert all(picks_candidate(replace(CANARY, share=10_000), keys, STRING))


def test_another_view_or_salt_meets_other_keys():
    keys = [(f"customer {number}",) for number in range(1000)]
    picked = [
        tuple(picks_candidate(rollout, keys, STRING))
        for rollout in (CANARY, replace(CANARY, view="other"), replace(CANARY, salt="3"))
    ]

    assert len(set(picked)) == 3


def test_live_answers_without_a_canary_and_for_a_null_key():
    everything = replace(CANARY, share=10_000)

    assert arm(ViewRollout(view="spend", live=1), ("c1",), STRING) == "live"
    assert picks_candidate(everything, [("a", None), ("a", "b")], STRING * 2) == [False, True]
