import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd

from features import DType
from features.serving.response import OnlineResponse

LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


def respond(types, **columns):
    features = {name: values for name, values in columns.items() if name not in ("key", "note")}
    return OnlineResponse(
        entities={name: columns[name] for name in ("key", "note") if name in columns},
        features=features,
        statuses={
            name: ["PRESENT" if value is not None else "NULL" for value in values] for name, values in features.items()
        },
        event_timestamps={name: [LONG_AGO] * len(values) for name, values in features.items()},
        types=types,
    )


def test_rows_are_the_columns_turned():
    response = respond({"key": DType.STRING, "x": DType.INT64}, key=["a", "b"], x=[1, None])

    assert list(response.rows()) == [{"key": "a", "x": 1}, {"key": "b", "x": None}]


def test_what_a_caller_does_to_the_dict_does_not_reach_the_response():
    response = respond({"key": DType.STRING, "x": DType.INT64}, key=["a"], x=[1])

    response.to_dict()["x"].append(2)

    assert response.to_dict() == {"key": ["a"], "x": [1]}


def test_pandas_has_nullable_dtypes_and_keeps_large_integers():
    types = {"key": DType.INT64, "n": DType.INT64, "flag": DType.BOOL, "text": DType.STRING, "small": DType.INT32}
    frame = respond(
        types, key=[2**63 - 1, None], n=[2**63 - 1, None], flag=[True, None], text=["", None], small=[1, None]
    ).to_pandas()

    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "key": "Int64", "n": "Int64", "flag": "boolean", "text": "string", "small": "Int32"
    }  # fmt: skip
    assert frame["n"][0] == 2**63 - 1
    assert frame.isna().values.tolist() == [[False] * 5, [True] * 5]


def test_pandas_keeps_nan_apart_from_null():
    frame = respond(
        {"x": DType.FLOAT64, "y": DType.FLOAT32}, x=[math.nan, None, math.inf], y=[0.5, None, None]
    ).to_pandas()

    assert str(frame["x"].dtype) == "Float64"
    assert str(frame["y"].dtype) == "Float32"
    assert frame["x"].isna().tolist() == [False, True, False]
    assert math.isnan(frame["x"][0])
    assert frame["x"][2] == math.inf


def test_pandas_holds_instants_of_every_year_in_utc():
    frame = respond(
        {"at": DType.TIMESTAMP}, at=[LONG_AGO, None, datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)]
    ).to_pandas()

    assert str(frame["at"].dtype) == "datetime64[us, UTC]"
    assert frame["at"][0].to_pydatetime() == LONG_AGO
    assert frame["at"][1] is pd.NaT
    assert frame["at"][2].microsecond == 999999


def test_pandas_holds_other_types_and_unknown_columns_as_objects():
    types = {"key": DType.STRING, "d": DType.DATE, "m": DType.DECIMAL(4, 2), "b": DType.BYTES, "v": DType.VECTOR(2)}
    given = {"note": [{"a": 1}], "d": [date(1, 1, 1)], "m": [Decimal("1.50")], "b": [b""], "v": [[1.0, 2.0]]}

    frame = respond(types, key=["a"], **given).to_pandas()

    assert {name: frame[name].tolist() for name in given} == given


def test_pandas_of_no_rows_has_the_columns():
    frame = respond({"key": DType.STRING, "x": DType.FLOAT64}, key=[], x=[]).to_pandas()

    assert frame.shape == (0, 2)
    assert str(frame["x"].dtype) == "Float64"
