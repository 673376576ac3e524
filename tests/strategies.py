"""What Hypothesis draws for the time rules: logs as runs append them, and spines that look at them."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.oracle import Row

moments = st.integers(0, 8)


@st.composite
def logs(draw: st.DrawFn, keys: Sequence[Any], most: int = 9) -> list[Row]:
    """Rows as runs would append them: positions ascend, retractions take back rows that were put."""
    rows: list[Row] = []
    for seq in range(1, draw(st.integers(0, most)) + 1):
        puts = [r for r in rows if r.is_put]
        if puts and draw(st.booleans()):
            old = draw(st.sampled_from(puts))
            is_put = draw(st.booleans())
            created = old.created + draw(st.integers(0, 3))
            value = draw(st.one_of(st.none(), st.floats(-3, 3))) if is_put else None
            rows.append(Row(old.key, old.event, created, old.interval, seq, is_put, value))
        else:
            event, late = draw(moments), draw(st.integers(0, 4))
            value = draw(st.one_of(st.none(), st.floats(-3, 3)))
            key = draw(st.sampled_from(keys))
            rows.append(Row(key, event, event + late, event + draw(st.integers(0, 2)), seq, True, value))
    return rows


def spines(keys: Sequence[Any], most: int = 8) -> st.SearchStrategy[list[tuple[Any, int]]]:
    """Rows of (key, time)."""
    return st.lists(st.tuples(st.sampled_from(keys), moments), max_size=most)
