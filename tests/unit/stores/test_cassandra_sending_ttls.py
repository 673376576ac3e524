"""TTLs of rows that are sent long after their load was planned."""

import pyarrow as pa

from features.stores.base import MAX_TTL_SECONDS
from features.stores.cassandra_writer import _aged
from features.stores.winner_rows import gone_rows


def rows(*ttls: int | None) -> pa.RecordBatch:
    count = len(ttls)
    return pa.record_batch({"_delete": pa.array([False] * count), "_ttl_seconds": pa.array(ttls, pa.int32())})


def test_a_row_that_is_written_late_has_so_much_less_time_and_one_whose_time_is_up_is_deleted() -> None:
    aged = _aged(rows(100, 60, 59, None, -5), 60)
    assert aged["_ttl_seconds"].to_pylist() == [40, 0, -1, None, -65]
    assert gone_rows(aged).to_pylist() == [False, True, True, False, True]
    assert aged.schema == rows(1).schema


def test_a_row_too_long_lived_for_a_ttl_does_not_get_one_by_waiting() -> None:
    assert _aged(rows(MAX_TTL_SECONDS + 1, MAX_TTL_SECONDS), 60)["_ttl_seconds"].to_pylist() == [
        MAX_TTL_SECONDS + 1,
        MAX_TTL_SECONDS - 60,
    ]


def test_a_clock_that_is_behind_makes_no_row_live_longer() -> None:
    assert _aged(rows(100), -60)["_ttl_seconds"].to_pylist() == [100]
