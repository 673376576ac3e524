"""Card transactions that never were, the same ones every time: `python -m features.demo.transactions`.

Most people pay a few times a day, of waking hours; now and then a card is emptied at night, a few payments in one hour.
One payment in fifty is recorded hours after it was made, as acquirers do.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import pyarrow as pa

from features.demo.landing import split_by_day, write_if_changed
from features.errors import FeatureStoreError, UsageError

ROOT = Path(".state/landing/transactions")
FIRST_DAY = date(2024, 3, 1)
DAYS = 21
USERS = 300
_SEED = 20_240_301
_MICROS = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [
        pa.field("transaction_id", pa.int64(), nullable=False),
        pa.field("user", pa.int64(), nullable=False),
        pa.field("transaction_at", _MICROS, nullable=False),
        pa.field("recorded_at", _MICROS, nullable=False),
        pa.field("amount", pa.float64(), nullable=False),
    ]
)
# Shares of user days and of payments.
_EMPTIED_SHARE, _LATE_SHARE = 0.002, 0.02
_SECOND_US = 1_000_000


def transactions_table(users: int = USERS, days: int = DAYS) -> pa.Table:
    """One row per payment: transaction_id, user, transaction_at and recorded_at instants, amount in EUR.

    In the order of recorded_at, transaction_id. Seeded: every call makes the same table.
    """
    rows = [row for user in range(1, users + 1) for row in _payments(user, days)]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(_SCHEMA.names[1:])}
    table = pa.table({"transaction_id": range(1, len(rows) + 1), **columns}, schema=_SCHEMA)
    return table.sort_by([("recorded_at", "ascending"), ("transaction_id", "ascending")])


def land_transactions(root: Path = ROOT, *, users: int = USERS, days: int = DAYS) -> int:
    """Writes the payments under `root`, a Parquet file for each UTC day of recorded_at; how many there are.

    A file that already holds the same rows is left alone.

    Raises: UsageError: users or days are less than one; PlatformError: a file cannot be written.
    """
    if users < 1 or days < 1:
        raise UsageError(f"users={users} and days={days} must be one or more")
    table = transactions_table(users, days)
    for day, part in split_by_day(table, "recorded_at", None, None):
        write_if_changed(part, root / f"day={day}" / "transactions.parquet")
    return len(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 landed, 1 failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m features.demo.transactions", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder to write (default: %(default)s)")
    parser.add_argument("--users", type=int, default=USERS, help="cards (default: %(default)s)")
    parser.add_argument("--days", type=int, default=DAYS, help=f"days from {FIRST_DAY} on (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        rows = land_transactions(args.root, users=args.users, days=args.days)
    except FeatureStoreError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    print(f"{rows} transactions of {args.users} users under {args.root}, from {FIRST_DAY} on")
    return 0


def _payments(user: int, days: int) -> Iterator[tuple[int, datetime, datetime, float]]:
    """A user's payments: user, transaction_at, recorded_at, amount."""
    # One stream of numbers per user: more users or days change nothing of the others.
    chance = Random(_SEED + user)
    usual, habit = chance.lognormvariate(3.2, 0.5), chance.uniform(0.5, 4.0)
    for number in range(days):
        midnight = datetime.combine(FIRST_DAY, datetime.min.time(), UTC) + timedelta(days=number)
        for _ in range(int(chance.expovariate(1 / habit))):
            made = midnight + timedelta(microseconds=int(chance.triangular(6, 24, 18) * 3600 * _SECOND_US))
            yield user, made, _recorded(made, chance), _cents(chance.lognormvariate(0, 0.6) * usual)
        if chance.random() < _EMPTIED_SHARE:
            made = midnight + timedelta(hours=chance.uniform(1, 4))
            for _ in range(chance.randint(4, 9)):
                made += timedelta(microseconds=int(chance.uniform(30, 400) * _SECOND_US))
                yield user, made, _recorded(made, chance), _cents(chance.uniform(5, 15) * usual)


def _recorded(made: datetime, chance: Random) -> datetime:
    seconds = chance.uniform(600, 12 * 3600) if chance.random() < _LATE_SHARE else chance.uniform(0.2, 4)
    return made + timedelta(microseconds=int(seconds * _SECOND_US))


def _cents(amount: float) -> float:
    return round(amount, 2)


if __name__ == "__main__":
    sys.exit(main())
