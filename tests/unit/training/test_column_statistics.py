"""Statistics of columns: by type, and part by part."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from features.training.statistics import ColumnStatistics
from tests.builders import UTC_MICROS, at


def statistics(*parts: pa.Array) -> dict[str, Any]:
    """Of parts, each gathered by itself, then merged."""
    whole = ColumnStatistics()
    for part in parts:
        mine = ColumnStatistics()
        mine.update(part)
        whole.merge(mine)
    json.dumps(whole.to_json(), allow_nan=False)
    return whole.to_json()


def told(nulls: int, nans: int, least: Any, greatest: Any, mean: Any) -> dict[str, Any]:
    return {"nulls": nulls, "nans": nans, "min": least, "max": greatest, "mean": mean}


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([pa.array([1.0, float("nan"), None, 3.0]), pa.array([-4.0])], told(1, 1, -4.0, 3.0, 0.0)),
        ([pa.array([float("nan")]), pa.array([None], pa.float64())], told(1, 1, None, None, None)),
        ([pa.array([float("inf"), 1.0])], told(0, 0, 1.0, "Infinity", "Infinity")),
        ([pa.array([float("inf"), float("-inf")])], told(0, 0, "-Infinity", "Infinity", "NaN")),
        ([pa.array([2**62, 2**62]), pa.array([2**62])], told(0, 0, 2**62, 2**62, float(2**62))),
        ([pa.array([Decimal("1.10"), Decimal("-2.30")])], told(0, 0, "-2.30", "1.10", -0.6)),
        ([pa.array([True, False, None, False])], told(1, 0, False, True, 1 / 3)),
        ([pa.array(["b", "a"]), pa.array(["ab", None])], told(1, 0, "a", "b", None)),
        ([pa.array(["a" * 300, "b"])], told(0, 0, None, "b", None)),
        ([pa.array([date(2024, 1, 2)])], told(0, 0, "2024-01-02", "2024-01-02", None)),
        (
            [pa.array([at("2024-01-02 00:30"), None], UTC_MICROS)],
            told(1, 0, "2024-01-02T00:30:00+00:00", "2024-01-02T00:30:00+00:00", None),
        ),
        ([pa.array([2**60, None], UTC_MICROS)], told(1, 0, None, None, None)),
        ([pa.array([b"x", None])], told(1, 0, None, None, None)),
        ([pa.array([[1.0], None])], told(1, 0, None, None, None)),
        ([], told(0, 0, None, None, None)),
    ],
)
def test_statistics_by_type(parts: list[pa.Array], wanted: dict[str, Any]) -> None:
    assert statistics(*parts) == pytest.approx(wanted)
