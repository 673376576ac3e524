"""Which intervals a backfill may build side by side, by the registry alone."""

from pathlib import Path
from typing import Any

import pytest

from features import Check
from features.core.discovery import Definitions
from features.materialization.backfill import Backfill
from features.registry import Registry
from tests.builders import at, make_view


@pytest.mark.parametrize(
    ("checks", "chunks"),
    [
        ((), 2),
        ((Check.freshness("payments", max_age=at("2024-01-02") - at("2024-01-01")),), 2),
        # Each interval is compared with those before it, which have to be built by then.
        ((Check.row_count(min_ratio=0.5),), 1),
    ],
)
def test_intervals_that_the_gate_compares_with_earlier_ones_are_built_in_order(
    tmp_path: Path, checks: Any, chunks: int
) -> None:
    view = make_view(checks=checks)
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        registry.apply(Definitions(views={view.name: view}, services={}))
        wanted = Backfill(
            registry=registry,
            applied=registry.view(view.name),
            start=at("2024-01-01"),
            end=at("2024-01-11"),
            parallel=2,
        )
        assert (wanted.at_once, len(wanted.plan().chunks)) == (chunks, chunks)
