from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projects import Project, open_project


@pytest.fixture
def project(in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Project]:
    """A project of the test's own, as the working folder."""
    yield from open_project(in_tmp, monkeypatch, capsys)
