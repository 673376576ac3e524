"""What a task keeps of the rows that pass: a fair sample of them, and how many there were."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from features.stores.winner_rows import SAMPLE, FrameRows, _Seen, gather_evidence, moment_of


def sample_of(sizes: Sequence[int], *, seed: int | None = None) -> list[int]:
    """The numbers of the rows that are kept of batches of those sizes."""
    ends = np.cumsum([0, *sizes])
    seen = _Seen(seed)
    for low, high in pairwise(ends):
        batch = pa.record_batch({"row": pa.array(range(low, high), pa.int64())})
        assert list(seen.watch(iter([batch]))) == [batch]
    packed = seen.packed()
    assert seen.rows == ends[-1]
    return [] if packed is None else pa.ipc.open_stream(packed).read_all()["row"].to_pylist()


@pytest.mark.parametrize("sizes", [[5000, 10, 90, 900], [1] * 2000, [0, 3000, 0, 3000]], ids=["uneven", "tiny", "even"])
def test_each_row_is_as_likely_kept_as_any_other(sizes: list[int]) -> None:
    repeats = 200
    kept = np.concatenate([sample_of(sizes, seed=seed) for seed in range(repeats)])

    assert len(kept) == repeats * SAMPLE
    found, _ = np.histogram(kept, bins=10, range=(0, sum(sizes)))
    # Tenths of all rows: six standard deviations either way.
    assert np.abs(found - len(kept) / 10).max() < 6 * np.sqrt(len(kept) * 0.1 * 0.9)


def test_a_sample_holds_no_row_twice_and_few_rows_whole() -> None:
    assert len(set(sample_of([5000, 5000]))) == SAMPLE
    assert sorted(sample_of([30, 0, 40])) == list(range(70))
    assert sample_of([0]) == []


def test_the_evidence_of_several_tasks_has_rows_of_each_and_not_their_first_ones() -> None:
    seen = [_Seen(seed) for seed in range(2)]
    for place, each in enumerate(seen):
        rows = pa.array(range(place * 10_000, place * 10_000 + 10_000), pa.int64())
        list(each.watch(iter([pa.record_batch({"row": rows})])))
    evidence = gather_evidence([each.rows for each in seen], [each.packed() for each in seen])
    assert evidence is not None
    kept = evidence.sample["row"].to_numpy()
    assert (evidence.rows, (kept < 10_000).sum(), (kept >= 10_000).sum()) == (20_000, 50, 50)
    assert (kept[:50] > 5_000).any()


def test_time_is_counted_from_the_moment_that_the_rows_name() -> None:
    planned = datetime(2024, 1, 1, 0, 0, 5, 999_999, tzinfo=UTC)
    frame: object = None
    assert moment_of(FrameRows(frame, now=planned)) == 1_704_067_205  # type: ignore[arg-type]
    assert moment_of(FrameRows(frame)) > 1_704_067_205  # type: ignore[arg-type]
