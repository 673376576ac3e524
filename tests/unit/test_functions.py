"""What authors import at the top of a views module: there without pyspark, and working with it."""

import os
import pickle
import subprocess
import sys

import pytest

from features import functions
from features.errors import PlatformError

WITHOUT_PYSPARK = """
import sys
sys.modules["pyspark"] = None
from features.errors import PlatformError
from features.functions import DataFrame, F, Window

def transform(payments: DataFrame) -> list[DataFrame]:
    return payments.select(F.col("a"))

for use in (lambda: F.col("a"), lambda: Window.partitionBy("a"), lambda: DataFrame.select):
    try:
        use()
    except PlatformError as exc:
        assert "pyspark is not installed here" in str(exc) and "install the 'spark' extra" in str(exc), exc
    else:
        raise SystemExit("pyspark was found")
"""


def test_a_transform_can_be_defined_without_pyspark_and_says_so_when_it_runs() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYSPARK], env=env, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_pyspark_is_not_there_for_this_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)

    with pytest.raises(PlatformError, match="transforms run in jobs; install the 'spark' extra"):
        functions.Window.partitionBy("a")


def test_what_on_demand_functions_compute_with_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(PlatformError, match=r"pandas is not installed here: .* install the 'on-demand' extra"):
        functions.pd.Series([1])


def test_names_are_those_of_arrow_numpy_and_pandas() -> None:
    import numpy
    import pandas
    import pyarrow.compute

    assert functions.np.sqrt is numpy.sqrt
    assert functions.pd.Series is pandas.Series
    assert functions.pa.table is pyarrow.table
    assert functions.pc.hour is pyarrow.compute.hour


def test_names_are_those_of_pyspark() -> None:
    import pyspark.sql

    assert functions.F.unix_micros is pyspark.sql.functions.unix_micros
    assert functions.Window.partitionBy == pyspark.sql.Window.partitionBy
    assert functions.DataFrame.select is pyspark.sql.DataFrame.select
    with pytest.raises(AttributeError):
        functions.F.no_such_function  # noqa: B018


@pytest.mark.parametrize("name", functions.__all__)
def test_what_inspects_an_object_does_not_load_pyspark(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql.functions", None)
    later = getattr(functions, name)

    assert not hasattr(later, "__wrapped__")
    assert vars(pickle.loads(pickle.dumps(later))) == vars(later)
