"""What the demo makes of scores: on made-up rows where the leak is known."""

import numpy as np
import pandas as pd

from features.demo.model import Scores, score
from features.demo.report import describe_scores
from tests.builders import at

ROWS = 400


def rows(*, leaks: bool) -> pd.DataFrame:
    """Rows whose feature is the label itself where it leaks, and else says nothing."""
    late = np.arange(ROWS) % 2 == 0
    return pd.DataFrame(
        {
            "event_timestamp": pd.date_range("2013-03-01", periods=ROWS, freq="h", tz="UTC"),
            "hour": 12.0,
            "distance": 100.0,
            "late": late,
            "mean_delay": pd.array(late.astype(float) if leaks else [None] * ROWS, dtype="Float64"),
        }
    )


def test_a_feature_that_is_the_answer_scores_perfectly_in_the_notebook_and_guesses_in_production() -> None:
    scores = score(rows(leaks=False), rows(leaks=True), ["mean_delay"], split=at("2013-03-11"))
    assert (scores.train_rows, scores.test_rows) == (240, 160)
    assert (scores.notebook, scores.served, scores.honest, scores.schedule) == (1.0, 0.5, 0.5, 0.5)
    assert (scores.illusion, scores.illusory_share) == (0.5, 1.0)


def test_the_same_rows_give_the_same_scores() -> None:
    known, leaky = rows(leaks=False), rows(leaks=True)
    first = score(known, leaky, ["mean_delay"], split=at("2013-03-11"))
    assert first == score(known, leaky, ["mean_delay"], split=at("2013-03-11"))


def test_the_report_is_silent_of_an_illusion_that_is_none() -> None:
    kept = Scores(
        train_rows=1, test_rows=1, train_late=0.5, test_late=0.5, notebook=0.6, served=0.6, honest=0.7, schedule=0.5
    )
    text = "\n".join(describe_scores(kept))
    assert "nothing of it was an illusion" in text
    assert "timetable" not in text


def test_the_report_says_what_is_gone_and_when_the_timetable_does_better() -> None:
    gone = Scores(
        train_rows=1, test_rows=1, train_late=0.5, test_late=0.5, notebook=0.9, served=0.7, honest=0.6, schedule=0.65
    )
    text = "\n".join(describe_scores(gone))
    assert "0.200 of the leaky score, 50% of what it has over guessing" in text
    assert "do not beat the timetable" in text
