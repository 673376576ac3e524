from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

TARGET = "cassandra://127.0.0.1:9042/features"


@pytest.fixture
def view(registry, define, make_view):
    registry.apply(define(make_view()))
    return registry.view("last_payment")


def test_checkpoint_starts_at_zero_and_moves_forward_only(registry, view):
    seen = [registry.checkpoint(view, target=TARGET)]
    for position in (2, 1, 2, 5):
        registry.move_checkpoint(view, target=TARGET, position=position)
        seen.append(registry.checkpoint(view, target=TARGET))

    assert seen == [0, 2, 2, 2, 5]


def test_each_target_and_version_has_its_own(registry, view, define, make_view):
    registry.move_checkpoint(view, target=TARGET, position=2)
    registry.apply(define(make_view(delay=timedelta(0))))

    assert registry.checkpoint(view, target="memory://") == 0
    assert registry.checkpoint(registry.view("last_payment"), target=TARGET) == 0


def test_reset_starts_again_and_is_audited(registry, view):
    registry.move_checkpoint(view, target=TARGET, position=2)

    registry.reset_checkpoint(view, target=TARGET, actor="ann")

    assert registry.checkpoint(view, target=TARGET) == 0
    entry = registry.audit()[0]
    assert (entry.actor, entry.action) == ("ann", "reset checkpoint")
    assert entry.detail == {"view": "last_payment@1", "target": TARGET, "position": 2}


def test_loads_that_race_leave_the_highest(registry, view):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: registry.move_checkpoint(view, target=TARGET, position=n), [3, 17, 5, 20, 1, 8, 19, 2]))

    assert registry.checkpoint(view, target=TARGET) == 20
