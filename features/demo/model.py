"""The demo's model, trained twice: on what was known, and on what leaks. And what the second one's score was worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.demo.spine import read_rows

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

_ROW = ["event_timestamp", "carrier", "flight", "origin"]
_SCHEDULE = ("hour", "distance")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """ROC AUC on the test days: 0.5 is guessing, 1.0 is perfect.

    notebook: trained and scored on leaky features, as a notebook would do. served: that same model on the features
    that serving would have answered. honest: trained and scored on those. schedule: hour and distance alone.
    """

    train_rows: int
    test_rows: int
    train_late: float
    test_late: float
    notebook: float
    served: float
    honest: float
    schedule: float

    @property
    def illusion(self) -> float:
        """What the leaky score promises and serving does not keep."""
        return self.notebook - self.served

    @property
    def illusory_share(self) -> float:
        """The illusion as a share of what the leaky score has over guessing."""
        return self.illusion / (self.notebook - 0.5)


def read_set(path: str | Path) -> pd.DataFrame:
    """A saved training set, its rows in the order of the spine."""
    return read_rows(path).sort_values(_ROW, kind="stable", ignore_index=True)


def score(known: pd.DataFrame, leaky: pd.DataFrame, features: Sequence[str], split: datetime) -> Scores:
    """Trains on the rows before `split` and scores on the rest, with each kind of features.

    Args:
        known, leaky: the same rows in the same order, with the same columns.
        features: the columns that the feature store added.
        split: the first instant of the test days.
    """
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    late = known["late"].to_numpy(dtype=bool)
    test = (known["event_timestamp"] >= split).to_numpy()
    columns = [*_SCHEDULE, *features]
    as_known, as_leaked = _matrix(known, columns), _matrix(leaky, columns)
    schedule = as_known[:, : len(_SCHEDULE)]

    def auc(trained_on: np.ndarray, scored_on: np.ndarray) -> float:
        # A column without a single value has nothing to bin.
        told = ~np.isnan(trained_on[~test]).all(axis=0)
        model = _model().fit(trained_on[~test][:, told], late[~test])
        return float(roc_auc_score(late[test], model.predict_proba(scored_on[test][:, told])[:, 1]))

    # One thread: the sums of several come in any order, and on a busy machine they wait for each other.
    with threadpool_limits(limits=1):
        notebook, served = auc(as_leaked, as_leaked), auc(as_leaked, as_known)
        honest, timetable = auc(as_known, as_known), auc(schedule, schedule)
    return Scores(
        train_rows=int((~test).sum()),
        test_rows=int(test.sum()),
        train_late=float(late[~test].mean()),
        test_late=float(late[test].mean()),
        notebook=notebook,
        served=served,
        honest=honest,
        schedule=timetable,
    )


def _matrix(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Numbers, with NaN where a value is missing."""
    return frame[list(columns)].astype("Float64").to_numpy(dtype="float64", na_value=np.nan)


def _model() -> "HistGradientBoostingClassifier":
    """Small trees that take missing values as they are; the same data give the same model.

    The settings did best among a few in cross-validation over the training days, never over the test days.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=40, early_stopping=False, random_state=0
    )
