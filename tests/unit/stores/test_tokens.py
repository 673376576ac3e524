from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from cassandra.metadata import Murmur3Token
from hypothesis import given, settings
from hypothesis import strategies as st

from features import DType
from features.stores.cells import Cells, encode_column, fixed
from features.stores.tokens import partition_keys, tokens

BYTES = [0x00, 0x01, 0x7F, 0x80, 0xFF]


def cells(*keys: bytes) -> Cells:
    return encode_column(pa.array(keys, pa.binary()), DType.BYTES)


def driver_tokens(keys: list[bytes]) -> list[int]:
    return [Murmur3Token.hash_fn(key) for key in keys]


def test_tokens_equal_the_drivers_at_every_length_and_for_signed_bytes():
    keys = [bytes([byte]) * length for length, byte in product(range(41), BYTES)]
    keys += [bytes(range(start, start + 40))[:length] for length in range(41) for start in (0, 100, 200)]

    assert tokens(cells(*keys)).tolist() == driver_tokens(keys)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=70) | st.binary(min_size=250, max_size=300), max_size=20))
def test_tokens_equal_the_drivers_for_any_keys_in_any_order(keys):
    assert tokens(cells(*keys)).tolist() == driver_tokens(keys)


@pytest.mark.parametrize("width", [1, 2, 4, 8, 15, 16, 17, 33])
def test_keys_of_one_width_have_the_same_tokens(width):
    records = np.random.default_rng(width).integers(0, 256, (50, width)).astype(np.uint8)

    assert tokens(fixed(records)).tolist() == driver_tokens([row.tobytes() for row in records])


def test_the_longest_key_has_its_token():
    key = bytes(range(255)) * 257

    assert tokens(cells(key, b"a")).tolist() == driver_tokens([key, b"a"])


def test_the_least_token_becomes_the_greatest():
    # Found by running the hash backwards: murmur3 of these bytes is -2^63.
    key = bytes.fromhex("9a5f80bc55e7892e6b6b4637804f1fce")

    assert tokens(cells(key)).tolist() == [2**63 - 1] == driver_tokens([key])


def test_a_lone_component_is_the_key_and_several_are_framed():
    numbers = encode_column(pa.array([1, -1]), DType.INT64)
    texts = encode_column(pa.array(["ab", ""]), DType.STRING)

    assert partition_keys([numbers]) is numbers
    keys = partition_keys([numbers, texts])
    first, second = (keys.data[keys.offsets[at] : keys.offsets[at + 1]].tobytes() for at in (0, 1))
    assert first == b"\0\x08" + b"\0" * 7 + b"\x01\0" + b"\0\x02ab\0"
    assert second == b"\0\x08" + b"\xff" * 8 + b"\0" + b"\0\0\0"


def test_composite_keys_of_one_width_stay_of_one_width():
    numbers = encode_column(pa.array([1, -1], pa.int32()), DType.INT32)

    assert partition_keys([numbers, numbers]).width == 2 * (2 + 4 + 1)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ([["a", None]], "may not be null"),
        ([["a", "b"], ["a", None]], "may not be null"),
        ([["a", ""]], "may not be empty"),
        ([["x" * 65_536]], "65536 is longer than maximum of 65535"),
        ([["x" * 65_536], ["b"]], "65536 is longer"),
        ([["x" * 65_529], ["b"]], "65536 is longer"),
    ],
)
def test_keys_that_no_table_can_hold_are_refused(columns, reason):
    with pytest.raises(ValueError, match=reason):
        partition_keys([encode_column(pa.array(values), DType.STRING) for values in columns])


def test_no_keys_have_no_tokens():
    assert tokens(cells()).tolist() == []
    assert len(partition_keys([cells(), cells()])) == 0
