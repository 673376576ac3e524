"""Promote, canary and rollback while requests come: every answer is of one state, and none is an error."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from features import DType, Feature
from features.core.arms import picks_candidate
from features.core.discovery import Definitions
from features.core.rollout import ViewRollout
from features.registry import Registry
from features.serving.client import OnlineClient
from features.stores.memory import MemoryRow, MemoryStore
from tests.builders import make_view

KEYS = [f"customer {number}" for number in range(40)]
ROWS = [{"customer": key} for key in KEYS]
LEFT, RIGHT = Feature("left", DType.INT64), Feature("right", DType.INT64)
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Served:
    """A registry and a memory store with versions 1, 2 and 3, whose every value is the version's number."""

    registry: Registry
    online: MemoryStore

    def expected(self, now: ViewRollout) -> tuple[int, ...]:
        """The version that answers each key."""
        picks = picks_candidate(now, [(key,) for key in KEYS], [DType.STRING])
        return tuple(now.candidate if pick and now.candidate else now.live for pick in picks)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    online = MemoryStore()
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        for version in (1, 2, 3):
            view = make_view(features=[LEFT, RIGHT], delay=timedelta(hours=version))
            registry.apply(Definitions(views={view.name: view}, services={}))
            applied = registry.view(view.name)
            online.create(applied)
            values = {"left": version, "right": version}
            rows = [MemoryRow(key=(key,), event_micros=0, created_micros=0, values=values) for key in KEYS]
            online.apply_rows(applied.online_table, rows, position=1)
            registry.move_checkpoint(applied, target=online.target, position=1)
        yield Served(registry, online)


def test_answers_under_load_are_of_one_state_each_and_follow_every_switch(served: Served) -> None:
    registry, target = served.registry, served.online.target
    client = OnlineClient(registry, served.online, poll_seconds=POLL_SECONDS)
    states = {served.expected(registry.rollout("last_payment"))}
    stop = threading.Event()

    def ask() -> set[tuple[int, ...]]:
        seen = set()
        while not stop.is_set():
            found = client.get(features="last_payment", entity_rows=ROWS).to_dict()
            assert found["left"] == found["right"], "one row of two versions"
            seen.add(tuple(found["left"]))
        return seen

    def await_answer(wanted: tuple[int, ...]) -> None:
        deadline = time.monotonic() + 10
        while tuple(client.get(features="last_payment", entity_rows=ROWS).to_dict()["left"]) != wanted:
            assert time.monotonic() < deadline, "a switch was not followed"
            time.sleep(POLL_SECONDS / 5)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for switch in (
                lambda: registry.promote("last_payment@2", target=target, share=2_000),
                lambda: registry.promote("last_payment@2", target=target, share=6_000),
                lambda: registry.promote("last_payment@2", target=target),
                lambda: registry.promote("last_payment@3", target=target, share=5_000),
                lambda: registry.rollback("last_payment", target=target),
                lambda: registry.promote("last_payment@3", target=target),
                lambda: registry.rollback("last_payment", target=target),
                lambda: registry.rollback("last_payment", target=target),
            ):
                wanted = served.expected(switch().after)
                states.add(wanted)
                await_answer(wanted)
        finally:
            stop.set()
        seen = set().union(*(answers.result() for answers in asking))

    # Live 1, two shares of 2, live 2, a share of 3, live 3.
    assert len(states) == 6
    assert seen <= states
    assert len(seen) > 1
    client.close()


def test_what_was_read_of_each_version_is_told_to_the_registry(served: Served) -> None:
    client = OnlineClient(served.registry, served.online, poll_seconds=POLL_SECONDS)
    client.get(features="last_payment", entity_rows=ROWS, consumer="checkout")
    client.get(features="last_payment@3", entity_rows=ROWS, consumer="trial")

    client.close()

    reads = served.registry.consumers("last_payment")
    assert [(read.version, read.consumer) for read in reads] == [(1, "checkout"), (3, "trial")]


def test_a_shadow_is_counted_and_never_answers(served: Served) -> None:
    served.registry.set_shadow("last_payment@2", target=served.online.target)
    gone = served.registry.view("last_payment@2")
    served.online.apply_rows(gone.online_table, [MemoryRow(key=(KEYS[0],))], position=2)
    client = OnlineClient(served.registry, served.online, poll_seconds=POLL_SECONDS)

    answer = client.get(features="last_payment:left", entity_rows=ROWS)
    client.close()

    assert answer.to_dict()["left"] == [1] * len(KEYS)
    (total,) = served.registry.shadow_counts("last_payment")
    assert total.key == ("last_payment", 1, 2, "left")
    assert (total.compared, total.different, total.missing) == (len(KEYS), len(KEYS) - 1, 1)
