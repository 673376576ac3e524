"""What the HTTP benchmark makes of its load generator's files."""

import base64
import json
from pathlib import Path

from benchmarks.http.__main__ import _percentile, _rate
from benchmarks.http.generator import Request, read_answers, write_targets


def test_requests_are_read_in_the_order_in_which_they_were_sent() -> None:
    rows = [["2000000000", "503", "1000000"], ["1000000000", "200", "2500000"], ["1500000000", "0", "10000000000"]]

    assert read_answers(rows) == [
        Request(at=0.0, status=200, milliseconds=2.5),
        Request(at=0.5, status=0, milliseconds=10_000.0),
        Request(at=1.0, status=503, milliseconds=1.0),
    ]


def test_targets_carry_their_bodies(tmp_path: Path) -> None:
    write_targets(tmp_path / "targets", "http://host/path", [{"a": 1}, {"a": "é"}])

    targets = [json.loads(line) for line in (tmp_path / "targets").read_text().splitlines()]

    assert [json.loads(base64.b64decode(target["body"])) for target in targets] == [{"a": 1}, {"a": "é"}]
    assert {(target["method"], target["url"]) for target in targets} == {("POST", "http://host/path")}


def test_a_rate_counts_until_the_last_answer() -> None:
    found = [Request(at=0.0, status=200, milliseconds=100.0), Request(at=1.5, status=200, milliseconds=500.0)]

    assert _rate(found) == 1.0


def test_a_percentile_is_of_what_was_measured() -> None:
    found = [Request(at=0.0, status=200, milliseconds=float(taken)) for taken in range(1, 101)]

    assert [_percentile(found, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 51.0, 100.0, 100.0]
