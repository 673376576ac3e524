"""A race alternates its contenders, measures each in a process of its own, and counts no time before its check."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.racing import Contender, ContenderFailedError, Race, Run, paired_ratio, race

WORK = """
import sys, time
from benchmarks.measuring import measured
with open({log!r}, "a") as log:
    log.write({name!r} + "\\n")
print("noise of a library")
with measured() as notes:
    held = b"x" * ({megabytes} << 20)
    time.sleep({seconds})
    notes["held"] = len(held)
"""
ROOT = str(Path(__file__).parents[3])


def contender(tmp_path: Path, name: str, *, seconds: float = 0.0, megabytes: int = 0, **given: object) -> Contender:
    code = f"import sys; sys.path.insert(0, {ROOT!r})" + WORK.format(
        log=str(tmp_path / "log"), name=name, seconds=seconds, megabytes=megabytes
    )
    return Contender(name=name, command=[sys.executable, "-c", code], **given)  # type: ignore[arg-type]


def accept(runs: Mapping[str, Run]) -> None:
    """A check that finds nothing."""


def run(seconds: float) -> Run:
    return Run(seconds=seconds, peak_bytes=2_000_000_000, notes={})


def test_every_other_round_goes_backwards(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    race([contender(tmp_path, name) for name in names], repeats=3, check=accept)
    assert (tmp_path / "log").read_text().split() == [*names, *reversed(names), *names]


def test_time_and_memory_are_those_of_the_measured_part(tmp_path: Path) -> None:
    result = race([contender(tmp_path, "a", seconds=0.3, megabytes=300)], repeats=1, check=accept)
    (measured,) = result.runs["a"]
    assert 0.3 <= measured.seconds < 5
    assert 300 << 20 <= measured.peak_bytes < 1000 << 20
    assert measured.notes == {"held": 300 << 20}


def test_a_result_that_is_refused_ends_the_race(tmp_path: Path) -> None:
    def refuse(runs: Mapping[str, Run]) -> None:
        raise ContenderFailedError(f"{', '.join(runs)}: wrong rows")

    with pytest.raises(ContenderFailedError, match="a, b: wrong rows"):
        race([contender(tmp_path, "a"), contender(tmp_path, "b")], repeats=2, check=refuse)
    assert (tmp_path / "log").read_text().split() == ["a", "b"]


def test_who_cannot_run_is_skipped_with_the_reason(tmp_path: Path) -> None:
    result = race(
        [contender(tmp_path, "a"), contender(tmp_path, "b", missing="not installed")], repeats=2, check=accept
    )
    assert list(result.runs) == ["a"]
    assert result.figures()["skipped"] == {"b": "not installed"}


def test_who_takes_minutes_runs_as_often_as_it_may(tmp_path: Path) -> None:
    result = race([contender(tmp_path, "a"), contender(tmp_path, "b", at_most=1)], repeats=2, check=accept)
    assert result.figures()["repeats"] == {"a": 2, "b": 1}


def test_who_does_not_finish_in_time_is_given_up_and_told(tmp_path: Path) -> None:
    slow = contender(tmp_path, "slow", seconds=60, limit_seconds=1)
    result = race([slow, contender(tmp_path, "a")], repeats=2, check=accept)
    assert result.skipped == {"slow": "no result after 1 s"}
    assert len(result.runs["a"]) == 2


def test_a_contender_that_fails_is_told_with_what_it_wrote() -> None:
    broken = Contender(name="broken", command=[sys.executable, "-c", "raise SystemExit('no such column')"])
    with pytest.raises(ContenderFailedError, match="broken ended with exit code 1:\nno such column"):
        race([broken], repeats=1, check=accept)


def test_figures_are_medians_with_their_spread_and_speedup_is_their_time_by_ours() -> None:
    result = Race(runs={"ours": [run(2.0), run(4.0), run(3.0)], "peer": [run(9.0), run(6.0), run(30.0)]})
    figures = result.figures()
    assert figures["seconds"] == {"ours": 3.0, "peer": 9.0}
    assert figures["spread"] == {"ours": [2.0, 4.0], "peer": [6.0, 30.0]}
    assert figures["speedup"] == {"peer": 3.0}
    assert figures["peak_memory_gb"] == {"ours": 2.0, "peer": 2.0}


def test_ratios_are_of_runs_of_one_round_and_of_one_row() -> None:
    result = Race(runs={"big": [run(8.0), run(12.0), run(9.0)], "small": [run(2.0), run(2.0), run(3.0)]})
    assert paired_ratio(result, {"per_row": ("big", "small", 4)}) == {
        "ratios": {"per_row": 1.0},
        "ratios_spread": {"per_row": [0.75, 1.5]},
    }
