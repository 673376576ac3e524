"""Dropping a version's online table: what is left when it fails, or races with a load."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from features.core.applied import AppliedView
from features.core.discovery import Definitions
from features.errors import OnlineStoreError, RefusedError
from features.materialization.rollout import Versions
from features.registry import Registry
from features.stores.memory import MemoryStore
from tests.builders import make_view

WEEK = timedelta(days=7)


class Unreachable(MemoryStore):
    """Memory behind a network that fails while it is told to."""

    fails = True

    def drop(self, view: AppliedView) -> bool:
        if self.fails:
            raise OnlineStoreError("the connection was lost")
        return super().drop(view)


class Racing(MemoryStore):
    """Memory into which a load ends at the worst moment: it had written before the table went."""

    registry: Registry

    def drop(self, view: AppliedView) -> bool:
        self.registry.move_checkpoint(view, target=self.target, position=7)
        return super().drop(view)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as opened:
        yield opened


def versions_of(registry: Registry, online: MemoryStore) -> tuple[Versions, AppliedView]:
    """Version 1, loaded, and version 2, which is live."""
    for hours in (1, 2):
        view = make_view(delay=timedelta(hours=hours))
        registry.apply(Definitions(views={view.name: view}, services={}))
        applied = registry.view(view.name)
        online.create(applied)
        registry.move_checkpoint(applied, target=online.target, position=1)
    registry.promote("last_payment@2", target=online.target)

    def no_session() -> None:
        raise AssertionError("a drop needs no Spark")

    return Versions(registry=registry, online=online, warehouse="", session=no_session), registry.view("last_payment@1")


def test_a_drop_takes_the_table_and_what_is_known_of_its_load(registry: Registry) -> None:
    online = MemoryStore()
    versions, old = versions_of(registry, online)

    assert versions.drop(old, unread_for=WEEK)

    assert online.create(old), "the table was still there"
    assert registry.checkpoint(old, target=online.target) == 0
    assert registry.rollout("last_payment").live == 2


def test_a_drop_that_failed_leaves_nothing_that_says_loaded_and_is_run_again(registry: Registry) -> None:
    online = Unreachable()
    versions, old = versions_of(registry, online)

    with pytest.raises(OnlineStoreError, match="connection was lost"):
        versions.drop(old, unread_for=WEEK)
    with pytest.raises(RefusedError, match="never loaded"):
        registry.promote("last_payment@1", target=online.target)
    with pytest.raises(RefusedError, match="is not loaded"):
        registry.rollback("last_payment", target=online.target)
    online.fails = False

    assert versions.drop(old, unread_for=WEEK)
    assert not versions.drop(old, unread_for=WEEK)


def test_a_load_that_ends_during_the_drop_is_forgotten_too(registry: Registry) -> None:
    online = Racing()
    online.registry = registry
    versions, old = versions_of(registry, online)

    versions.drop(old, unread_for=WEEK)

    assert registry.checkpoint(old, target=online.target) == 0


def test_a_refused_drop_touches_nothing(registry: Registry) -> None:
    online = MemoryStore()
    versions, _ = versions_of(registry, online)
    live = registry.view("last_payment@2")

    with pytest.raises(RefusedError, match="it is live"):
        versions.drop(live, unread_for=WEEK)

    assert not online.create(live)
    assert registry.checkpoint(live, target=online.target) == 1
