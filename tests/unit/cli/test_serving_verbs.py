import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from features.config import ServingSettings
from features.embedded.ports import choose_free
from features.serving.http.keys import KeyRing
from tests.projects import Project


def test_a_key_is_shown_once_and_its_hash_is_an_entry(project: Project) -> None:
    made = project.run("serving-key", "create", "checkout", "--services", "model, fraud", "--expires", "90d", "--json")

    assert made.code == 0
    key, entry = made.data["key"], made.data["entry"]
    assert entry["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert (entry["name"], entry["services"]) == ("checkout", ["model", "fraud"])
    assert key not in str(entry)


def test_the_entry_that_is_printed_opens_the_server(project: Project) -> None:
    printed = project.run("serving-key", "create", "checkout", "--services", "*").out

    key, entry = printed.splitlines()[0], printed.splitlines()[-1]
    (project.folder / "keys.yaml").write_text(entry + "\n")
    found = KeyRing(ServingSettings(keys_file=str(project.folder / "keys.yaml"))).identify(key)

    assert found is not None
    assert (found.name, found.services, found.expires) == ("checkout", "*", None)


@pytest.mark.parametrize(
    "words",
    [
        ("serving-key", "create", "x"),
        ("serving-key", "create", "x", "--services", "a", "--expires", "90"),
        ("serving-key", "create", "x", "--services", "a", "--expires", "0d"),
        ("serving-key",),
        ("serve", "--workers", "0"),
        ("serve", "--port", "65536"),
    ],
)
def test_wrong_usage_exits_2(project: Project, words: tuple[str, ...]) -> None:
    assert project.run(*words).code == 2


class Visitor(threading.Thread):
    """Asks for the health of a server in this process as soon as it answers, and stops the server then."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.url = f"http://127.0.0.1:{port}"
        self.health: object = None
        self.unknown = 0
        self.start()

    def run(self) -> None:
        for _ in range(600):
            try:
                self.health = httpx.get(f"{self.url}/health").json()
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            body = {"features": "nothing", "entity_rows": []}
            self.unknown = httpx.post(f"{self.url}/get-online-features", json=body, timeout=30).status_code
            os.kill(os.getpid(), signal.SIGTERM)
            return


def test_serving_answers_until_it_is_told_to_stop(project: Project) -> None:
    project.run("apply")
    port = choose_free("127.0.0.1")
    visitor = Visitor(port)

    outcome = project.run("serve", "--port", str(port), "--json")
    visitor.join()

    assert (visitor.health, visitor.unknown) == ({"status": "ok"}, 404)
    assert (outcome.code, outcome.data) == (0, {"status": "stopped"})


@pytest.mark.parametrize(("host", "told"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_an_open_server_that_others_reach_is_warned_of(project: Project, host: str, told: bool) -> None:
    project.run("apply")
    port = choose_free("127.0.0.1")
    visitor = Visitor(port)

    outcome = project.run("serve", "--host", host, "--port", str(port))
    visitor.join()

    assert ("no API key is configured" in outcome.err) == told


def test_a_file_of_keys_that_is_not_there_is_told(project: Project) -> None:
    outcome = project.run("serve", "--port", "0", "--set", f"serving.keys_file={Path('absent.yaml')}")

    assert outcome.code == 2
    assert "absent.yaml cannot be read" in outcome.err
