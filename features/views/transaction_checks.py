"""What a transaction that is being made looks like beside those before it; and the service that a fraud model reads."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from features import DType, Feature, FeatureService, GoldenRow, RequestSource, on_demand
from features.views.user_transactions import OWNER

if TYPE_CHECKING:
    from pandas import DataFrame

TRANSACTION = RequestSource(
    name="transaction",
    schema={"amount": DType.FLOAT64, "transaction_at": DType.TIMESTAMP},
    description="the transaction that is being made",
)


@on_demand(
    inputs=["user_transactions:user_avg_transaction_amount_last_week", TRANSACTION],
    returns=[
        Feature("is_night_time_transaction", DType.BOOL, description="made between 22:00 and 06:00 UTC"),
        Feature(
            "transaction_amount_ratio",
            DType.FLOAT64,
            description="its amount as a multiple of the card holder's weekly mean; null where there is none",
        ),
    ],
    mode="pandas",
    golden=[
        GoldenRow(
            {
                "user_avg_transaction_amount_last_week": 20.0,
                "amount": 50.0,
                "transaction_at": datetime(2024, 3, 10, 22, tzinfo=UTC),
            },
            {"is_night_time_transaction": True, "transaction_amount_ratio": 2.5},
        ),
        GoldenRow(
            {
                "user_avg_transaction_amount_last_week": None,
                "amount": 50.0,
                "transaction_at": datetime(2024, 3, 10, 6, tzinfo=UTC),
            },
            {"is_night_time_transaction": False, "transaction_amount_ratio": None},
        ),
    ],
    owner=OWNER,
    tags={"domain": "payments"},
)
def transaction_checks(batch: "DataFrame") -> "DataFrame":
    """Whether a transaction is made at night, and how large it is beside the card holder's others."""
    hour = batch["transaction_at"].dt.hour
    return batch.assign(
        is_night_time_transaction=(hour < 6) | (hour >= 22),
        transaction_amount_ratio=batch["amount"] / batch["user_avg_transaction_amount_last_week"],
    )[["is_night_time_transaction", "transaction_amount_ratio"]]


FRAUD = FeatureService(
    name="fraud",
    features=["user_transactions", "transaction_checks"],
    description="Judges a transaction while it is being made.",
    owner=OWNER,
)
