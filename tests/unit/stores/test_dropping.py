"""Dropping the online table of a version."""

import pytest

from features.errors import OnlineStoreError
from features.stores import cql
from features.stores.base import Read
from features.stores.memory import MemoryStore
from tests.applied_views import ROUTE, SPEND


def test_memory_forgets_the_table_and_no_other_and_can_make_it_again():
    store = MemoryStore()
    for view in (SPEND, ROUTE):
        store.create(view)

    assert [store.drop(SPEND), store.drop(SPEND)] == [True, False]
    with pytest.raises(OnlineStoreError, match="no table spend__v1"):
        store.apply_rows(SPEND.online_table, [], position=1)
    assert store.create(SPEND)
    assert not store.create(ROUTE)
    assert store.read([Read(view=SPEND, features=("amount",), keys=(("a",),))]) == [[None]]


def test_cql_names_the_table_of_the_version():
    assert cql.drop_table("features", SPEND) == 'DROP TABLE IF EXISTS "features"."spend__v1"'
