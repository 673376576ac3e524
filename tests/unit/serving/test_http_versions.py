"""Which version answered: told in the answer and in the log; and what a partial answer lacks."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.core.discovery import Definitions
from features.errors import OnlineStoreError
from features.serving.client import OnlineClient
from features.serving.http.app import Application
from features.stores.base import Read
from features.stores.memory import MemoryStore
from tests.builders import make_view
from tests.served import DEFINITIONS, LATER, Desk, put

CUSTOMERS = [f"c{number}" for number in range(40)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, access_log=str(tmp_path / "access.log"))
    yield desk
    desk.close()


def ask_anew(desk: Desk, store: MemoryStore, **body: Any) -> tuple[httpx.Response, dict[str, Any]]:
    """An answer of a server that has just been started, over a store; and its line in the access log."""
    registry = desk.serving.registry
    desk.application._log.close()
    client = OnlineClient(registry, store)
    desk.application = Application(replace(desk.serving, client=client, store=store))
    answer = desk.ask(**body)
    desk.application._log.start().close()
    client.close()
    return answer, json.loads(Path(desk.serving.settings.access_log).read_text().splitlines()[-1])


def test_arms_of_a_canary_are_in_the_answer_and_counted_in_the_log(desk: Desk) -> None:
    registry, store = desk.serving.registry, desk.serving.store
    old = DEFINITIONS.views["spend"]
    new = make_view(
        name="spend", entities=old.entities, features=old.features, lookback=old.lookback, delay=timedelta(0)
    )
    registry.apply(Definitions(views={**DEFINITIONS.views, "spend": new}, services=DEFINITIONS.services))
    store.create(registry.view("spend@2"))
    for customer in CUSTOMERS:
        put(store, registry, "spend@1", (customer,), {"amount": 1.0, "visits": 1})
        put(store, registry, "spend@2", (customer,), {"amount": 2.0, "visits": 2})
    given = {"features": "spend", "entity_rows": [{"customer": customer} for customer in CUSTOMERS], "now": LATER}

    before, line_before = ask_anew(desk, store, **given)
    registry.promote("spend@2", target=store.target, share=5000, force=True)
    during, line_during = ask_anew(desk, store, **given)

    assert "arms" not in before.json()
    assert "arms" not in line_before
    arms = during.json()["arms"]["spend"]
    assert set(arms) == {"live", "candidate"}
    assert during.json()["columns"]["amount"] == [2.0 if arm == "candidate" else 1.0 for arm in arms]
    assert line_during["arms"] == {"spend": Counter(arms)}


class WithoutRoutes(MemoryStore):
    """A store of which one table cannot be read."""

    async def read_async(self, requests: Sequence[Read], **options: Any) -> Any:
        """Answers, and an error in place of one."""
        found = await super().read_async(requests, **options)
        away = OnlineStoreError("10.0.0.1 does not answer")
        return [away if read.view.name == "route" else answer for read, answer in zip(requests, found, strict=True)]


def test_a_partial_answer_is_marked_and_only_given_to_who_allows_it(desk: Desk) -> None:
    registry, store = desk.serving.registry, WithoutRoutes()
    for view in registry.views():
        store.create(view)
    put(store, registry, "spend", ("a",), {"amount": 1.5, "visits": 2})
    given = {"features": "model", "entity_rows": [{"customer": "a", "origin": "JFK", "stop": 3}], "now": LATER}

    whole, _ = ask_anew(desk, store, **given)
    partial, line = ask_anew(desk, store, allow_partial=True, **given)

    assert whole.status_code == 503
    assert partial.status_code == 200
    assert partial.json()["statuses"] == {"amount": ["PRESENT"], "visits": ["PRESENT"], "minutes": ["UNAVAILABLE"]}
    assert partial.json()["unavailable"] == line["unavailable"] == ["route@1"]
    assert "10.0.0.1" not in whole.text + partial.text


def test_a_view_that_was_never_loaded_is_named_and_nobody_is_told_to_ask_again_soon(desk: Desk) -> None:
    answer, _ = ask_anew(desk, MemoryStore(), features="spend", entity_rows=[{"customer": "a"}])

    assert answer.status_code == 503
    assert "retry-after" not in answer.headers
    assert answer.json()["detail"].startswith("nothing of spend@1 is loaded yet (request ")
