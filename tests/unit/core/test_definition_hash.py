"""The hash of a view: what makes a new version, and what does not. Each case is an edit of one small package."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from features.core.canonical import definition_hash, view_definition

Write = Callable[[Mapping[str, str]], str]

VIEW = """
from datetime import timedelta

from features import BatchSource, DType, Entity, Expect, Feature, FeatureView
from features.functions import F

from .shared import FACTOR, halve

LIMIT = 100
FLOOR, CEILING = 0, 10
WIDTH: int = 7
RATES = {"a": 1}
RATES["b"] = 2
STEPS = [1]
STEPS.append(2)
TOTAL = 1
TOTAL += 1
if LIMIT > 1:
    def clip(frame):
        return frame.where(F.col("amount") < LIMIT)
else:
    clip = None


def scale(frame):
    return frame.select("customer", "event_timestamp", (F.col("amount") * FACTOR).alias("amount"))


def unused(frame):
    return frame.distinct()


def last_payment(payments):
    frame = clip(scale(halve(payments)))
    return frame.where(F.col("amount").between(FLOOR, CEILING + WIDTH + RATES["a"] + STEPS[0] + TOTAL))


CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING, "shop": DType.INT32}, description="who")
PAYMENTS = BatchSource(name="payments", path="data/payments", format="parquet", timestamp_field="paid_at")
LAST = FeatureView(
    name="last_payment",
    entities=[CUSTOMER],
    sources=[PAYMENTS],
    transform=last_payment,
    features=[
        Feature("amount", DType.FLOAT64),
        Feature("visits", DType.INT64),
    ],
    lookback=timedelta(days=2),
    schedule="@daily",
    delay=timedelta(minutes=30),
    description="the last payment",
    owner="team@example.com",
)
"""
SHARED = """
FACTOR = 3
OFFSET = 1


def halve(frame):
    return shift(frame)


def shift(frame):
    return frame.limit(OFFSET)


def other(frame):
    return frame
"""


def hash_of(package: str, module: str = "view", view: str = "LAST") -> str:
    found = getattr(importlib.import_module(f"{package}.{module}"), view)
    return definition_hash(view_definition(found))


def edited(write: Write, old: str, new: str) -> tuple[str, str]:
    """The hash before and after one edit, of whichever file holds the text."""
    files = {"view.py": VIEW, "shared.py": SHARED}
    assert sum(text.count(old) for text in files.values()) >= 1
    before = hash_of(write(files))
    return before, hash_of(write({path: text.replace(old, new, 1) for path, text in files.items()}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def scale(frame):", "# A comment.\ndef scale(frame):  # and another"),
        ("def last_payment(payments):", 'def last_payment(payments):\n    """Says what it does."""'),
        ("def shift(frame):", 'def shift(frame):\n    """In a helper of another module."""'),
        ('"customer", "event_timestamp", (F', '\n        "customer",\n        "event_timestamp", (F'),
        ("frame.distinct()", "frame.limit(3)"),
        ("def other(frame):\n    return frame", "def other(frame):\n    return frame.limit(9)"),
        ("from features.functions import F\n", "from features.functions import DataFrame, F, Window\n"),
        ("import FACTOR, halve", "import FACTOR, halve, other"),
        ('description="the last payment"', 'description="the latest payment"'),
        ('description="who"', 'description="a card holder", owner="shop@example.com"'),
        ('owner="team@example.com"', 'owner="others@example.com", tags={"tier": "gold"}'),
        ('"amount", DType.FLOAT64)', '"amount", DType.FLOAT64, unit="EUR", description="paid", tags={"a": "b"})'),
        ('"amount", DType.FLOAT64)', '"amount", DType.FLOAT64, expect=[Expect.between(0, 5, severity="warn")])'),
        ("lookback=timedelta(days=2)", "lookback=timedelta(hours=48)"),
        ("lookback=timedelta(days=2)", "lookback=timedelta(days=2), retention=timedelta(days=9), reprocess=3"),
        ("lookback=timedelta(days=2)", "lookback=timedelta(days=2), quarantine_limit=0.1"),
        ('timestamp_field="paid_at"', 'timestamp_field="paid_at", partition_field="day"'),
        (
            '        Feature("amount", DType.FLOAT64),\n        Feature("visits", DType.INT64),',
            '        Feature("visits", DType.INT64),\n        Feature("amount", DType.FLOAT64),',
        ),
        ("halve(payments)", "(halve(payments))"),
    ],
)
def test_what_changes_no_value_keeps_the_version(write_package: Write, old: str, new: str) -> None:
    before, after = edited(write_package, old, new)

    assert after == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('    name="last_payment"', '    name="latest_payment"'),
        ('name="customer", join_keys', 'name="client", join_keys'),
        ('{"customer": DType.STRING, "shop"', '{"client": DType.STRING, "shop"'),
        ('"shop": DType.INT32', '"shop": DType.INT64'),
        (
            '{"customer": DType.STRING, "shop": DType.INT32}',
            '{"shop": DType.INT32, "customer": DType.STRING}',
        ),
        ('Feature("amount"', 'Feature("sum"'),
        ("DType.FLOAT64", "DType.FLOAT32"),
        ('schedule="@daily"', 'schedule="@hourly"'),
        ("minutes=30", "minutes=31"),
        ("lookback=timedelta(days=2)", "lookback=timedelta(days=3)"),
        ("lookback=timedelta(days=2)", "lookback=None"),
        ('"paid_at")', '"paid_at", created_timestamp_field="loaded_at")'),
        ('name="payments"', 'name="payings"'),
        ("data/payments", "data/paid"),
        ('"parquet"', '"delta"'),
        ('"paid_at")', '"booked_at")'),
        ('"paid_at")', '"paid_at", timezone="Europe/Berlin")'),
        ('"paid_at")', '"paid_at", null_timestamp="drop")'),
        ('"paid_at")', '"paid_at", history=timedelta(days=7))'),
        ("halve(payments)", "payments"),
        ("* FACTOR", "+ FACTOR"),
        ("def last_payment(payments):", "def last_payment(payments, n=1):"),
        ("LIMIT = 100", "LIMIT = 200"),
        ("FLOOR, CEILING = 0, 10", "FLOOR, CEILING = 0, 20"),
        ("WIDTH: int = 7", "WIDTH: int = 8"),
        ('RATES = {"a": 1}', 'RATES = {"a": 3}'),
        ('RATES["b"] = 2', 'RATES["b"] = 3'),
        ("STEPS.append(2)", "STEPS.append(3)"),
        ("\nTOTAL = 1", "\nTOTAL = 5"),
        ("TOTAL += 1", "TOTAL += 2"),
        ("if LIMIT > 1", "if LIMIT > 2"),
        ("< LIMIT", "<= LIMIT"),
        ("FACTOR = 3", "FACTOR = 4"),
        ("OFFSET = 1", "OFFSET = 2"),
        ("frame.limit(OFFSET)", "frame.tail(OFFSET)"),
        ("import FACTOR, halve", "import FACTOR, other as halve"),
        ("from features.functions import F\n", "from features.functions import Window as F\n"),
    ],
)
def test_what_may_change_a_value_makes_a_version(write_package: Write, old: str, new: str) -> None:
    before, after = edited(write_package, old, new)

    assert after != before


def test_available_is_part_of_the_version(write_package: Write) -> None:
    imported = VIEW.replace('"paid_at")', '"paid_at", created_timestamp_field="loaded_at")')
    before = hash_of(write_package({"view.py": imported, "shared.py": SHARED}))

    text = imported.replace('schedule="@daily"', 'schedule="@daily", available="source"')

    assert hash_of(write_package({"view.py": text, "shared.py": SHARED})) != before


def test_a_helper_may_move_to_another_module(write_package: Write) -> None:
    before = hash_of(write_package({"view.py": VIEW, "shared.py": SHARED}))
    inner = SHARED.replace("FACTOR = 3\n", "")
    moved = {"view.py": VIEW, "shared.py": "from .deep.inner import halve\nFACTOR = 3\n", "deep/inner.py": inner}

    assert hash_of(write_package({**moved, "deep/__init__.py": ""})) == before


def test_the_hash_is_the_same_in_every_process(write_package: Write, tmp_path: Path) -> None:
    package = write_package({"view.py": VIEW, "shared.py": SHARED})
    code = (
        "import sys; from features.core.canonical import definition_hash, view_definition; "
        f"from {package}.view import LAST; sys.stdout.write(definition_hash(view_definition(LAST)))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }

    assert hashes == {hash_of(package)}


def test_a_stored_definition_has_the_hash_of_the_code(write_package: Write) -> None:
    package = write_package({"view.py": VIEW, "shared.py": SHARED})
    definition = view_definition(importlib.import_module(f"{package}.view").LAST)

    assert definition_hash(json.loads(json.dumps(definition))) == definition_hash(definition)
