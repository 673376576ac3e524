"""What a load takes for arrived, as far as no log has to be read."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from features.errors import OnlineStoreError
from features.materialization.load_checks import verify
from features.stores.base import Evidence, Written
from features.stores.memory import MemoryStore
from tests.applied_views import applied_view

VIEW = applied_view("checked")
EVENT = datetime(2024, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", tz="UTC")


def verify_missing(*, ttl: int | None, planned: timedelta, newest: int = 1) -> bool:
    """Of a load that was planned so long ago and wrote one row, which is not online."""
    store = MemoryStore()
    store.create(VIEW)
    sample = pa.table(
        {
            "customer": ["a"],
            "event_timestamp": pa.array([EVENT], INSTANT),
            "created_timestamp": pa.array([EVENT], INSTANT),
            "amount": [1.0],
            "_delete": [False],
            "_ttl_seconds": pa.array([ttl], pa.int32()),
        }
    )
    written = Written(rows=1, deleted=0, evidence=Evidence(rows=1, sample=sample))
    log = cast("Any", SimpleNamespace(snapshot=lambda: SimpleNamespace(position=newest)))
    return verify(store, VIEW, written, log, 1, now=datetime.now(UTC) - planned)


def test_a_row_whose_time_was_up_while_the_load_ran_may_be_gone() -> None:
    assert verify_missing(ttl=1500, planned=timedelta(seconds=1000))


@pytest.mark.parametrize("ttl", [None, 1500])
def test_a_row_that_has_time_left_must_be_there(ttl: int | None) -> None:
    with pytest.raises(OnlineStoreError, match=r"another row of customer=.a. than was loaded.*drop the table"):
        verify_missing(ttl=ttl, planned=timedelta(seconds=10))


def test_what_differs_while_the_log_moves_on_is_neither_an_error_nor_verified() -> None:
    assert not verify_missing(ttl=None, planned=timedelta(0), newest=2)
