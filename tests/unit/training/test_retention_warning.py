"""Whoever asks for a past whose rows retention has removed is told."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from features.core.applied import Selection
from features.core.times import to_micros
from features.engine.as_of import Pin
from features.stores.delta import FeatureLog
from features.training.pinning import warn_of_retention
from tests.applied_views import applied_view
from tests.builders import at

VIEW = applied_view(lookback=timedelta(days=2))


def pin(folder: Path, kept_from: datetime | None) -> Pin:
    selection = Selection(view=VIEW, features=tuple(VIEW.features), columns=("amount",))
    log = FeatureLog(cast("Any", None), str(folder), VIEW)
    return Pin(selection=selection, log=log, snapshot=None, position=0, kept_from=kept_from)


@pytest.mark.parametrize(
    ("first", "looks_back", "told"),
    [
        ("2024-01-03", True, False),
        ("2024-01-02T23:59:59.999999", True, True),
        ("2024-01-01", False, False),
        ("2023-12-31T23:59:59.999999", False, True),
    ],
)
def test_reading_before_what_is_kept_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: str, looks_back: bool, told: bool
) -> None:
    pins = [pin(tmp_path, at("2024-01-01")), pin(tmp_path, None)]
    warn_of_retention(pins, to_micros(at(first)), looks_back=looks_back)
    assert [record.getMessage().startswith("rows may be missing") for record in caplog.records] == [True] * told


def test_reading_nothing_misses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_retention([pin(tmp_path, at("2024-01-01"))], None)
    assert caplog.records == []
