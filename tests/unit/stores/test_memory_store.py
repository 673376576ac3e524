import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import DType
from features.core.times import to_micros
from features.errors import OnlineStoreError
from features.stores.base import OnlineRow, OnlineStore, Read, Written, rows_of
from features.stores.memory import MemoryRow, MemoryStore
from tests.applied_views import applied_view

VIEW = applied_view()
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


def put(key, amount, *, event=0, ttl=None):
    return MemoryRow(key=(key,), event_micros=event, created_micros=event, values={"amount": amount}, ttl_seconds=ttl)


def gone(key):
    return MemoryRow(key=(key,))


def open_memory(clock=None):
    store = MemoryStore(clock=clock or Clock())
    store.create(VIEW)
    return store


def amounts(store, *keys):
    (rows,) = store.read([Read(view=VIEW, features=("amount",), keys=tuple((key,) for key in keys))])
    return [None if row is None else row.values[0] for row in rows]


def test_memory_is_an_online_store():
    store: OnlineStore = MemoryStore()
    store.close()
    store.close()


def test_read_answers_in_the_order_of_keys_and_knows_no_unwritten_one():
    store = open_memory()

    assert store.apply_rows("spend__v1", [put("a", 1.0, event=5), put("b", None)], position=1) == Written(
        rows=2, deleted=0
    )

    (rows,) = store.read([Read(view=VIEW, features=("amount",), keys=(("b",), ("c",), ("a",), ("b",)))])
    assert rows == [OnlineRow(0, 0, (None,)), None, OnlineRow(5, 5, (1.0,)), OnlineRow(0, 0, (None,))]


def test_an_older_position_never_overwrites_a_newer_one():
    store = open_memory()
    store.apply_rows("spend__v1", [put("a", 2.0)], position=2)
    store.apply_rows("spend__v1", [put("a", 1.0)], position=1)

    assert amounts(store, "a") == [2.0]


def test_a_deleted_key_stays_deleted_when_an_older_put_comes_late():
    store = open_memory()
    store.apply_rows("spend__v1", [gone("a")], position=2)
    store.apply_rows("spend__v1", [put("a", 1.0)], position=1)

    assert amounts(store, "a") == [None]


def test_a_later_put_brings_a_deleted_key_back():
    store = open_memory()
    store.apply_rows("spend__v1", [gone("a")], position=1)
    store.apply_rows("spend__v1", [put("a", 1.0)], position=2)

    assert amounts(store, "a") == [1.0]


def test_a_row_is_seen_until_its_ttl_has_passed():
    clock = Clock()
    store = open_memory(clock)
    store.apply_rows("spend__v1", [put("a", 1.0, ttl=10)], position=1)

    clock.now = NOON + timedelta(seconds=10) - timedelta(microseconds=1)
    before = amounts(store, "a")
    clock.now = NOON + timedelta(seconds=10)

    assert (before, amounts(store, "a")) == ([1.0], [None])


def test_a_row_past_its_ttl_does_not_uncover_an_older_one():
    clock = Clock()
    store = open_memory(clock)
    store.apply_rows("spend__v1", [put("a", 2.0, ttl=1)], position=2)
    clock.now = NOON + timedelta(seconds=5)
    store.apply_rows("spend__v1", [put("a", 1.0)], position=1)

    assert amounts(store, "a") == [None]


def test_a_row_that_is_past_its_ttl_when_written_is_deleted():
    store = open_memory()
    store.apply_rows("spend__v1", [put("a", 1.0)], position=1)

    assert store.apply_rows("spend__v1", [put("a", 2.0, ttl=0)], position=2) == Written(rows=0, deleted=1)
    assert amounts(store, "a") == [None]


def test_a_table_that_was_not_created_is_an_error_that_says_what_to_do():
    with pytest.raises(OnlineStoreError, match=r"no table spend__v1 .* `features load spend@1`"):
        rows_of(*MemoryStore().read([Read(view=VIEW, features=("amount",), keys=(("a",),))]))


def test_creating_a_table_twice_keeps_its_rows_and_other_columns_are_refused():
    store = open_memory()
    store.apply_rows("spend__v1", [put("a", 1.0)], position=1)

    store.create(VIEW)

    assert amounts(store, "a") == [1.0]
    with pytest.raises(OnlineStoreError, match="other columns"):
        store.create(applied_view(features={"visits": DType.INT64}))


KEYS = ("a", "b", "c")


@st.composite
def loads(draw):
    """What each position holds of each key: always the same, whenever and by whomever it is loaded."""
    content = {
        position: [draw(st.sampled_from([put(key, float(position)), gone(key)])) for key in KEYS]
        for position in range(1, draw(st.integers(1, 5)) + 1)
    }
    order = draw(st.lists(st.sampled_from(sorted(content)), max_size=8)) + sorted(content)
    return content, draw(st.permutations(order))


@given(loads())
def test_any_order_and_repetition_of_loads_ends_in_the_latest_position(case):
    content, order = case
    store = open_memory()

    for position in order:
        store.apply_rows("spend__v1", content[position], position=position)

    assert amounts(store, *KEYS) == [
        None if row.values is None else row.values["amount"] for row in content[max(content)]
    ]


def test_loads_at_once_end_in_the_latest_position():
    store = open_memory()
    positions = list(range(1, 101)) * 3
    random.Random(7).shuffle(positions)

    with ThreadPoolExecutor(8) as pool:
        for position in positions:
            pool.submit(store.apply_rows, "spend__v1", [put(key, float(position)) for key in KEYS], position=position)

    assert amounts(store, *KEYS) == [100.0, 100.0, 100.0]


def test_readers_never_see_half_a_row():
    view = applied_view(features={"left": DType.INT64, "right": DType.INT64})
    store = MemoryStore()
    store.create(view)
    read = Read(view=view, features=("left", "right"), keys=(("a",),))

    def load(position):
        row = MemoryRow(
            key=("a",), event_micros=position, created_micros=position, values={"left": position, "right": position}
        )
        store.apply_rows("spend__v1", [row], position=position)

    with ThreadPoolExecutor(4) as pool:
        for position in range(200):
            pool.submit(load, position)
        seen = [store.read([read])[0][0] for _ in range(200)]

    assert all(row is None or len({row.event_micros, *row.values}) == 1 for row in seen)


def test_rows_expire_by_the_wall_clock_unless_told_otherwise():
    store = MemoryStore()
    store.create(VIEW)
    event = to_micros(datetime.now(UTC))

    store.apply_rows("spend__v1", [put("a", 1.0, event=event, ttl=3600)], position=1)

    assert amounts(store, "a") == [1.0]
