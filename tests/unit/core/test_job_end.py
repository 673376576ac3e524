"""The file in which a job tells how it ended."""

from pathlib import Path

import pytest

from features.core.job_end import JobFailure, failure_of, read_end, write_end


def test_end_is_read_as_it_was_written_and_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "end.json"
    write_end(str(path), {"rows": 1})
    write_end(str(path), {"rows": 2})
    assert read_end(path) == {"rows": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["end.json"]


@pytest.mark.parametrize("content", [None, "", "{", "[1]"])
def test_what_a_killed_job_leaves_is_no_end(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "end.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert read_end(path) is None


def test_failure_is_told_in_the_words_of_the_job() -> None:
    error = {"type": "RefusedError", "message": "two rows fail", "retry": False}
    failure = failure_of({"error": error})
    assert failure == JobFailure(type="RefusedError", message="two rows fail", retry=False)
    assert str(failure) == "RefusedError: two rows fail"
    assert failure_of({"rows": 2}) is None
