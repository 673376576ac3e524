"""Where keys live in a cluster: partition keys as Cassandra composes them, and the tokens of its Murmur3Partitioner."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.stores.cells import Bytes, Cells, Longs, big_endian, fixed, joined, prefixed

Words = npt.NDArray[np.uint64]

# Cassandra stores the length of a key in 16 bits.
MAX_KEY_BYTES = 65535

_BLOCK = 16
_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_MIX1, _MIX2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)


def partition_keys(components: Sequence[Cells]) -> Cells:
    """The keys of rows, of the encoded columns of their join keys, in the order of the table's partition key.

    A lone component stands for itself. Of several, each is its length in 2 bytes, its bytes and a zero byte.

    Raises: ValueError: a key that Cassandra cannot store: null, a lone empty one, or more than 65,535 bytes.
    """
    for component in components:
        if component.nulls is not None and component.nulls.any():
            raise ValueError("Key may not be null")
        _require_length(component)
    if len(components) == 1:
        (keys,) = components
        if len(keys) and not keys.sizes.min():
            raise ValueError("Key may not be empty")
        return keys
    keys = joined([part for component in components for part in _framed(component)])
    _require_length(keys)
    return keys


def tokens(keys: Cells) -> Longs:
    """The token of each key: the first half of MurmurHash3 (x64, 128 bits, seed 0), with Cassandra's two quirks.

    The bytes behind the last whole block are taken as signed, and the least token becomes the greatest. Keys without
    a byte, which no table holds, get 0.
    """
    sizes = keys.sizes
    # Longest first: those that still have a block are always a leading part.
    order = np.argsort(-sizes, kind="stable") if keys.width is None else np.arange(len(keys))
    sizes, starts = sizes[order], keys.offsets[:-1][order]
    # Room for reading whole blocks at the very end.
    data = np.concatenate([keys.data, np.zeros(_BLOCK, np.uint8)])
    h1, h2 = np.zeros(len(keys), np.uint64), np.zeros(len(keys), np.uint64)
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    blocks = sizes // _BLOCK
    for block in range(int(blocks[0]) if len(keys) else 0):
        many = int(np.searchsorted(-blocks, -block, side="left"))
        at = starts[:many] + block * _BLOCK
        _mix_block(h1[:many], h2[:many], words[at], words[at + 8])
    _mix_tail(h1, h2, data, starts + blocks * _BLOCK, sizes % _BLOCK)
    found = np.empty(len(keys), np.int64)
    found[order] = _finish(h1, h2, sizes)
    found[found == np.iinfo(np.int64).min] = np.iinfo(np.int64).max
    return found


def _framed(component: Cells) -> tuple[Cells, Cells]:
    sized = prefixed(big_endian(component.sizes, ">u2"), component)
    return sized, fixed(np.zeros((len(component), 1), np.uint8))


def _require_length(keys: Cells) -> None:
    if len(keys) and keys.sizes.max() > MAX_KEY_BYTES:
        raise ValueError(f"Key length of {keys.sizes.max()} is longer than maximum of {MAX_KEY_BYTES}")


def _mix_block(h1: Words, h2: Words, k1: Words, k2: Words) -> None:
    """Take 16 bytes of each key into its two hashes, in place."""
    h1 ^= _rotate(k1 * _C1, 31) * _C2
    h1[:] = (_rotate(h1, 27) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
    h2 ^= _rotate(k2 * _C2, 33) * _C1
    h2[:] = (_rotate(h2, 31) + h1) * np.uint64(5) + np.uint64(0x38495AB5)


def _mix_tail(h1: Words, h2: Words, data: Bytes, starts: Longs, sizes: Longs) -> None:
    """Take the last 0 to 15 bytes of each key, which starts at `starts` of data, in place."""
    most = int(sizes.max()) if len(sizes) else 0
    k1, k2 = np.zeros(len(h1), np.uint64), np.zeros(len(h2), np.uint64)
    for at in range(most):
        # Missing bytes are zero, and zero changes nothing.
        signed = np.where(sizes > at, data[starts + at], 0).astype(np.int8).astype(np.int64).view(np.uint64)
        half = k1 if at < 8 else k2
        half ^= signed << np.uint64(at % 8 * 8)
    h1 ^= _rotate(k1 * _C1, 31) * _C2
    h2 ^= _rotate(k2 * _C2, 33) * _C1


def _finish(h1: Words, h2: Words, sizes: Longs) -> Longs:
    h1 = h1 ^ sizes.astype(np.uint64)
    h2 = h2 ^ sizes.astype(np.uint64)
    h1 = h1 + h2
    return (_avalanche(h1) + _avalanche(h2 + h1)).view(np.int64)


def _avalanche(h: Words) -> Words:
    h = (h ^ (h >> np.uint64(33))) * _MIX1
    h = (h ^ (h >> np.uint64(33))) * _MIX2
    return h ^ (h >> np.uint64(33))


def _rotate(word: Words, bits: int) -> Words:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))
