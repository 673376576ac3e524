"""Data docs: pages that open offline, and say what the registry holds whatever is in it."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from features.core.discovery import Definitions
from features.core.schedule import Interval
from features.errors import PlatformError
from features.materialization.data_docs import write_data_docs
from features.quality import RuleResult
from features.registry import Registry
from tests.builders import at, make_view

NASTY = "<img src=https://evil.example/x onerror=alert(1)>&amp;'\""
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Links, everything that a browser would load, and the text of a page; fails where tags do not match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[tuple[str, str | None]] = []
        self.text = ""
        self.titles: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        found = dict(attrs)
        self.titles.append(found.get("title") or "")
        if tag == "a":
            self.links.append(found["href"] or "")
        if tag in ("script", "link", "img", "iframe", "object", "embed"):
            self.loads.append((tag, None))
        self.loads += [(tag, value) for name, value in attrs if name in ("src", "srcset", "style", "background")]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data
        else:
            assert "url(" not in data
            assert "@import" not in data


def result(**changes: Any) -> dict[str, Any]:
    given = {
        "column": "amount",
        "rule": "between(0, 1)",
        "severity": "refuse",
        "interval_end": "",
        "failing": 0,
        "rows": 5,
    }
    return RuleResult(**{**given, **changes}).to_dict()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Two views: one that was never run, one with a pass, a warning of another kind, and a refusal."""
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as opened:
        views = {"last_payment": make_view(description=NASTY), "idle": make_view(name="idle")}
        opened.apply(Definitions(views=views, services={}))
        view = opened.view("last_payment")
        day = Interval(at("2024-01-01"), at("2024-01-02"))
        when = "2024-01-02T00:00:00+00:00"
        fewer = result(column="*", rule="row_count(min_ratio=1)", severity="warn", failing=1, rows=1, detail="3 rows")
        wrong = result(failing=2, keys=(f"customer={NASTY!r}",), interval_end=when)
        told = [
            ("built", "", [result()]),
            ("built", "", [result(), {**fewer, "interval_end": when}]),
            ("refused", NASTY, [wrong]),
        ]
        for status, message, results in told:
            run = opened.start_run(kind="build", view=view, start=day.start, end=day.end, now=day.end)
            opened.record_validation(run, results)
            opened.finish_run(run, status=status, message=message, counts={"rows": 1234, "quarantined": 3})
        opened.finish_run(opened.start_run(kind="load", view=view, start=None, end=None, now=day.end), status="loaded")
        yield opened


def test_every_page_opens_offline_and_every_link_leads_to_one(registry: Registry, tmp_path: Path) -> None:
    written = write_data_docs(registry, registry.views(), tmp_path / "deep" / "site")
    assert [path.name for path in written] == ["idle.v1.html", "last_payment.v1.html", "index.html"]
    assert sorted(path.name for path in (tmp_path / "deep" / "site").iterdir()) == sorted(p.name for p in written)
    for path in written:
        page = Page(path)
        assert page.loads == []
        assert page.links
        assert all((path.parent / link).is_file() for link in page.links)


def test_a_view_page_tells_its_runs_and_how_each_rule_fared(registry: Registry, tmp_path: Path) -> None:
    write_data_docs(registry, registry.views(), tmp_path)
    page = Page(tmp_path / "last_payment.v1.html")
    assert page.text.count(NASTY) == 2
    for told in ("2 of 5 rows fail", "3 rows", "row_count(min_ratio=1)", "between(0, 1)", "1,234", "customer='<img"):
        assert told in page.text
    # The last three runs of a rule, the latest on the right; the load is none.
    assert "\u25cf\u25cf\u2715" in page.text
    assert "\u00b7!\u00b7" in page.text
    assert any("refuse, 1 findings" in title for title in page.titles)
    index = Page(tmp_path / "index.html").text
    assert "\u25cf!\u2715" in index
    assert "never run" in index


def test_one_view_is_written_alone_and_again(registry: Registry, tmp_path: Path) -> None:
    kept = tmp_path / "notes.txt"
    kept.write_text("mine")
    for _ in range(2):
        written = write_data_docs(registry, [registry.view("idle")], tmp_path)
    assert [path.name for path in written] == ["idle.v1.html", "index.html"]
    assert kept.read_text() == "mine"
    assert "No run has built it." in Page(written[0]).text


def test_a_folder_that_is_a_file_is_told(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "site").write_text("")
    with pytest.raises(PlatformError, match=r"data docs cannot be written to '.*site'"):
        write_data_docs(registry, registry.views(), tmp_path / "site")
