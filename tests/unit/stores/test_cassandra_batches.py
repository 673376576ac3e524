import io
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from cassandra.protocol import BatchMessage
from cassandra.query import BatchType
from hypothesis import given, settings
from hypothesis import strategies as st

from features import DType
from features.errors import OnlineStoreError
from features.stores.cassandra_batches import (
    MAX_STATEMENTS,
    Ring,
    Statements,
    batches_of,
    by_node,
    constant,
    encode_columns,
    encode_statements,
)
from features.stores.cells import encode_column
from features.stores.tokens import tokens

QUERY_ID = bytes(range(16))
LOCAL_QUORUM = 6


def statements_of(*sizes: int) -> Statements:
    """One statement for each size: it binds a blob of that many bytes, its weight is 20 more."""
    blobs = encode_column(pa.array([bytes(size) for size in sizes], pa.binary()), DType.BYTES)
    keys = encode_column(pa.array(range(len(sizes))), DType.INT64)
    return encode_statements("put", QUERY_ID, [blobs], keys)


def cut(statements: Statements, *, nodes: list[int] | None = None, max_bytes: int = 10**9) -> list[tuple[int, int]]:
    numbers = np.array(nodes if nodes is not None else [0] * len(statements.weights))
    return [(batch.first, batch.last) for batch in batches_of(statements, numbers, max_bytes=max_bytes)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.none() | st.text(max_size=9), st.none() | st.integers(-9, 9), st.integers(0, 9))))
def test_a_batch_has_the_bytes_that_the_driver_sends(rows):
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    values = [
        encode_column(pa.array(columns[0], pa.string()), DType.STRING),
        encode_column(pa.array(columns[1], pa.int32()), DType.INT32),
        encode_column(pa.array(columns[2], pa.int64()), DType.INT64),
        constant(-5, ">i8", len(rows)),
    ]
    statements = encode_statements("put", QUERY_ID, values, values[2])

    bodies = [batch.body(LOCAL_QUORUM) for batch in batches_of(statements, np.zeros(len(rows), int), max_bytes=10**9)]

    bound = [
        (
            None if text is None else text.encode(),
            None if small is None else small.to_bytes(4, signed=True),
            big.to_bytes(8, signed=True),
            (-5).to_bytes(8, signed=True),
        )
        for text, small, big in rows
    ]
    expected = io.BytesIO()
    message = BatchMessage(BatchType.UNLOGGED, [(True, QUERY_ID, row) for row in bound], LOCAL_QUORUM)
    message.send_body(expected, 5)
    assert bodies == ([expected.getvalue()] if rows else [])


def test_rows_of_one_width_are_encoded_like_others():
    numbers = encode_column(pa.array([1, 2]), DType.INT64)
    (batch,) = batches_of(
        encode_statements("put", QUERY_ID, [numbers, numbers], numbers), np.zeros(2, int), max_bytes=10**9
    )

    expected = io.BytesIO()
    rows = [(True, QUERY_ID, [number.to_bytes(8)] * 2) for number in (1, 2)]
    BatchMessage(BatchType.UNLOGGED, rows, LOCAL_QUORUM).send_body(expected, 5)
    assert batch.body(LOCAL_QUORUM) == expected.getvalue()


def test_a_batch_ends_before_the_bound_and_a_larger_statement_goes_alone():
    statements = statements_of(80, 80, 81, 500, 10, 10)

    assert statements.weights.tolist() == [100, 100, 101, 520, 30, 30]
    assert cut(statements, max_bytes=200) == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert cut(statements, max_bytes=1) == [(at, at + 1) for at in range(6)]
    assert cut(statements_of()) == []


def test_a_batch_holds_rows_of_one_node_and_a_bounded_number():
    assert cut(statements_of(1, 1, 1, 1), nodes=[2, 2, 0, 7]) == [(0, 2), (2, 3), (3, 4)]
    lengths = [last - first for first, last in cut(statements_of(*[0] * (MAX_STATEMENTS + 1)))]
    assert lengths == [MAX_STATEMENTS, 1]


def test_halves_are_all_of_a_batch_and_route_by_their_own_first_row():
    (batch,) = batches_of(statements_of(1, 2, 3), np.zeros(3, int), max_bytes=10**9)

    first, second = batch.halves()

    assert [(half.first, half.last, half.weight) for half in (first, second)] == [(0, 1, 21), (1, 3, 22 + 23)]
    assert (first.routing_key, second.routing_key) == ((0).to_bytes(8), (1).to_bytes(8))


def test_a_token_belongs_to_the_range_that_ends_at_it_and_the_last_range_wraps_around():
    ring = Ring(ends=np.array([-10, 0, 10]), nodes=np.array([5, 6, 5]))

    found = ring.node_of(np.array([-(2**63), -10, -9, 0, 1, 10, 11, 2**63 - 1]))

    assert found.tolist() == [5, 5, 6, 6, 5, 5, 5, 5]
    assert Ring(ends=np.array([], int), nodes=np.array([], int)).node_of(np.array([1, 2])).tolist() == [0, 0]


def test_rows_stand_by_node_beside_their_keys():
    numbers = list(range(100))
    rows = pa.record_batch({"number": pa.array(numbers), "name": pa.array([f"n{number}" for number in numbers])})
    ring = Ring(ends=np.array([-(2**62), 0, 2**62]), nodes=np.array([2, 0, 1]))

    ordered, keys, nodes = by_node(rows, [("number", DType.INT64)], ring, table="t")

    assert nodes.tolist() == sorted(nodes.tolist()) == ring.node_of(tokens(keys)).tolist()
    assert set(nodes.tolist()) == {0, 1, 2}
    assert sorted(ordered.to_pylist(), key=lambda row: row["number"]) == rows.to_pylist()
    assert keys.data.tobytes() == b"".join(number.to_bytes(8) for number in ordered["number"].to_pylist())
    # Within a node the order stays.
    for (left, a), (right, b) in pairwise(zip(nodes.tolist(), ordered["number"].to_pylist(), strict=True)):
        assert left < right or a < b


def test_a_value_or_key_that_does_not_fit_is_told_with_table_and_column():
    rows = pa.record_batch({"price": pa.array(["x"]), "name": pa.array([""])})

    with pytest.raises(OnlineStoreError, match=r"a row does not fit k\.t: column price: .*rerun the load"):
        encode_columns(rows, [("price", DType.INT32)], table="k.t")
    with pytest.raises(OnlineStoreError, match=r"k\.t: key name: Key may not be empty"):
        by_node(rows, [("name", DType.STRING)], Ring(ends=np.array([], int), nodes=np.array([], int)), table="k.t")
