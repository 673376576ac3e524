"""Transactions beside those before them: night's edges, and cards without a week."""

import pandas as pd
import pyarrow as pa
import pytest

from features.views.transaction_checks import FRAUD, transaction_checks
from tests.builders import at

MICROS = pa.timestamp("us", tz="UTC")


def check(when: str, amount: float | None = 50.0, mean: float | None = 20.0) -> tuple[bool | None, float | None]:
    """What the function says of one transaction."""
    moments = pa.array([at(when)], MICROS)
    table = pa.table(
        {
            "user_avg_transaction_amount_last_week": pa.array([mean], pa.float64()),
            "amount": pa.array([amount], pa.float64()),
            "transaction_at": moments,
        }
    )
    frame = transaction_checks(table.to_pandas(types_mapper=pd.ArrowDtype))
    (row,) = pa.Table.from_pandas(frame, preserve_index=False).to_pylist()
    return row["is_night_time_transaction"], row["transaction_amount_ratio"]


@pytest.mark.parametrize(
    ("when", "is_night"),
    [
        ("2024-03-10T21:59:59.999999", False),
        ("2024-03-10T22:00", True),
        ("2024-03-10T00:00", True),
        ("2024-03-10T05:59:59.999999", True),
        ("2024-03-10T06:00", False),
    ],
)
def test_night_is_from_ten_to_six(when: str, is_night: bool) -> None:
    assert check(when)[0] is is_night


def test_an_amount_is_told_as_a_multiple_of_the_weeks_mean() -> None:
    assert check("2024-03-10T12:00", amount=50.0, mean=20.0)[1] == 2.5
    assert check("2024-03-10T12:00", amount=50.0, mean=None)[1] is None
    assert check("2024-03-10T12:00", amount=None, mean=20.0)[1] is None


def test_the_service_asks_for_both_windows_and_both_checks() -> None:
    assert list(FRAUD.features) == ["user_transactions", "transaction_checks"]
