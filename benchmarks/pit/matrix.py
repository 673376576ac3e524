"""Ours alone over kinds and sizes of data: what views, hot keys, kinds of key and four times the rows cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from benchmarks.compare import difference, read
from benchmarks.pit.shape import Layout, Shape
from benchmarks.pit.trial import check_spine, contender, make_data
from benchmarks.places import out_path, remove
from benchmarks.racing import ContenderFailedError, Run, paired_ratio, race

_VIEWS, _TIMES = 5, 4
# Of which case to which, and how many times the rows the first one has.
_RATIOS = {
    "five_views_to_one": ("five_views", "one_view", 1),
    "hot_key_to_uniform": ("hot", "uniform", 1),
    "string_key_to_int": ("string", "one_view", 1),
    "composite_key_to_int": ("composite", "one_view", 1),
    "per_row_of_four_times_the_rows": ("four_times", "one_view", _TIMES),
}
# Logs of other kinds of key hold the same values in the same rows.
_ALIKE = ("one_view", "string", "composite")


def run_matrix(shape: Shape, *, repeats: int, fresh: bool) -> dict[str, Any]:
    """Seconds and peak memory by case, and the ratios; of each ratio the median over repeats, and its spread."""
    one = replace(shape, views=1, skew="zipf", key="int")
    cases = {
        "one_view": one,
        "five_views": replace(one, views=_VIEWS),
        "uniform": replace(one, skew="uniform"),
        "hot": replace(one, skew="hot"),
        "string": replace(one, key="string"),
        "composite": replace(one, key="composite"),
        "four_times": replace(one, rows=shape.rows * _TIMES, spine=shape.spine * _TIMES),
    }
    make_data(list(cases.values()), fresh=fresh)
    contenders = [contender("ours", case, label=label) for label, case in cases.items()]
    result = race(contenders, repeats=repeats, check=_Checked(cases=cases).check)
    return {
        "benchmark": "pit --matrix",
        "rows": shape.rows,
        "spine": shape.spine,
        "features": shape.features,
        **result.figures(),
        **paired_ratio(result, _RATIOS),
    }


@dataclass(kw_only=True)
class _Checked:
    cases: Mapping[str, Shape]
    _values: pa.Table | None = field(default=None)

    def check(self, runs: Mapping[str, Run]) -> None:
        """Compare each result with its spine, and those of other kinds of key with each other; then remove them."""
        for label in runs:
            layout = Layout.read(self.cases[label].folder)
            found = read(str(out_path(label)), layout.columns)
            check_spine(label, layout, found)
            if label in _ALIKE:
                values = found.select(["row_id", *layout.features])
                if self._values is None:
                    self._values = values
                elif unlike := difference(self._values, values):
                    raise ContenderFailedError(f"{label} gave other values than {_ALIKE[0]}: {unlike}")
            remove(out_path(label))
