"""A project in a folder of the test's own, and commands run in it: conf, a views package, a source; nothing started."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from features.cli import main
from tests.builders import write_payments

PACKAGE = "project_views"
_VIEWS = """
from datetime import timedelta
from features import BatchSource, DType, Entity, Expect, Feature, FeatureService, FeatureView
from features.functions import F, Window
CUSTOMER = Entity(name="customer", join_keys={{"customer": DType.STRING}})
PAYMENTS = BatchSource(name="payments", path={path!r}, format="parquet", timestamp_field="paid_at")

def last_payment(payments):
    return payments.withColumnRenamed("paid_at", "event_timestamp")

def looks_ahead(payments):
    following = F.lead("amount").over(Window.partitionBy("customer").orderBy("paid_at"))
    return payments.withColumn("amount", following).withColumnRenamed("paid_at", "event_timestamp")

def raises(payments):
    return payments.withColumn("amount", F.raise_error(F.lit("boom")).cast("double")).withColumnRenamed(
        "paid_at", "event_timestamp")

def view(name, transform, schedule="@daily"):
    return FeatureView(
        name=name, entities=[CUSTOMER], sources=[PAYMENTS], transform=transform, lookback=None, schedule=schedule,
        features=[Feature("amount", DType.FLOAT64, expect=[Expect.between(0, 1000, severity="refuse")])],
        delay=timedelta(minutes=30), description="the last payment", owner="team@example.com")

LAST = view("last_payment", last_payment)
AHEAD = view("next_payment", looks_ahead)
BROKEN = view("broken_payment", raises)
ONCE = view("payment_once", last_payment, schedule=None)
MODEL = FeatureService(name="model", features=["last_payment:amount"])
"""
PAYMENTS = [
    ("a", "2024-01-01 10:00", 1.0),
    ("b", "2024-01-01 23:59:59.999999", 5.0),
    ("a", "2024-01-02 09:00", 2.0),
    ("b", "2024-01-04 00:00", 5000.0),
]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """The JSON object on the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder, and commands run in process in it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: str) -> Outcome:
        """`features` with these words."""
        self.capsys.readouterr()
        code = main(words)
        printed = self.capsys.readouterr()
        return Outcome(code=code, out=printed.out, err=printed.err)


def make_project(folder: Path) -> None:
    """Local conf with a SQLite registry and the memory store; four views of one source, one service."""
    (folder / "conf").mkdir()
    (folder / "conf" / "base.yaml").write_text(f"views: {PACKAGE}\nonline: {{type: memory}}\n")
    (folder / "conf" / "local.yaml").write_text("")
    (folder / PACKAGE).mkdir()
    (folder / PACKAGE / "__init__.py").write_text(_VIEWS.format(path=str(folder / "source")))
    write_payments(folder / "source", PAYMENTS)


def open_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Project]:
    """A project in the working folder, whose views are imported afresh."""
    make_project(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("FEATURES_ENV", raising=False)
    monkeypatch.delenv("FEATURES_CONF", raising=False)
    yield Project(folder=folder, capsys=capsys)
    sys.modules.pop(PACKAGE, None)
