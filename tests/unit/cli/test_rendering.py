from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from features.cli.rendering import fields, table, to_plain
from features.core.schedule import Interval

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def test_columns_align_and_none_is_a_dash() -> None:
    assert table(["key", "n"], [["a", 1], ["long", None]]) == "key   n\n----  -\na     1\nlong  -"


def test_a_table_without_rows_has_its_headers() -> None:
    assert table(["a", "b"], []) == "a  b\n-  -"


def test_fields_align_their_values() -> None:
    assert fields({"a": 1, "longer": DAY}) == "a:      1\nlonger: 2024-01-01T00:00:00+00:00"


def test_plain_values_are_json() -> None:
    interval = Interval(DAY, DAY + timedelta(days=1))
    given = {"when": interval, "path": Path("x"), "money": Decimal("1.10"), "rows": (1, None), "nan": float("nan")}
    assert to_plain(given) == {
        "when": {"start": "2024-01-01T00:00:00+00:00", "end": "2024-01-02T00:00:00+00:00"},
        "path": "x",
        "money": "1.10",
        "rows": [1, None],
        "nan": "NaN",
    }
