"""How often and how much a card pays: windows over its transactions, one row at each of them."""

from datetime import timedelta

from features import Aggregation, BatchSource, DType, Entity, Expect, FeatureView

OWNER = "payments@example.com"

USER = Entity(name="user", join_keys={"user": DType.INT64}, description="a card holder", owner=OWNER)

# `python -m features.demo.transactions` lands them.
TRANSACTIONS = BatchSource(
    name="transactions",
    path=".state/landing/transactions",
    format="parquet",
    timestamp_field="transaction_at",
    created_timestamp_field="recorded_at",
    partition_field="day",
)

USER_TRANSACTIONS = FeatureView(
    name="user_transactions",
    entities=[USER],
    sources=[TRANSACTIONS],
    aggregations=[
        Aggregation(
            function="count",
            windows=[timedelta(hours=1)],
            name="user_transaction_count_last_hour",
            description="transactions over the last hour, this one counted",
            expect=[Expect.between(1, 100, severity="warn")],
        ),
        Aggregation(
            function="mean",
            column="amount",
            dtype=DType.FLOAT64,
            windows=[timedelta(days=7)],
            name="user_avg_transaction_amount_last_week",
            unit="EUR",
            description="mean amount over the last seven days, this one counted",
            expect=[Expect.not_null(), Expect.between(0, 100_000)],
        ),
    ],
    lookback=timedelta(days=7),
    schedule="@hourly",
    delay=timedelta(minutes=5),
    description="How often and how much a card holder pays, at each transaction.",
    owner=OWNER,
    tags={"domain": "payments"},
)
