"""Requests and answers of `POST /get-online-features`, in our words and in Feast's."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from features.serving.http.app import Application, Serving
from features.serving.http.messages import FeastAnswer, OnlineAnswer
from tests.served import A_KEY, EVERY_FEATURE, LATER, NOON, Desk, put

A_KEY_IN_JSON = {
    "at": "2024-01-01T00:00:00.000001+00:00", "day": "2024-01-01", "price": "1.50", "blob": "AP8=", "big": 2**63 - 1,
    "flag": True,
}  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_features_are_answered_with_statuses(desk: Desk) -> None:
    answer = desk.ask(features="spend", entity_rows=[{"customer": "a"}, {"customer": "b"}], now=LATER)

    assert answer.status_code == 200
    assert answer.json() == {
        "columns": {"customer": ["a", "b"], "amount": [1.5, None], "visits": [None, None]},
        "statuses": {"amount": ["PRESENT", "NOT_FOUND"], "visits": ["NULL", "NOT_FOUND"]},
    }


def test_references_full_names_now_and_event_times_are_passed_on(desk: Desk) -> None:
    answer = desk.ask(
        features=["spend:amount"],
        entity_rows=[{"customer": "a"}, {"customer": None}],
        now="2024-02-01T00:00:00+00:00",
        full_feature_names=True,
        event_timestamps=True,
    )

    assert answer.json() == {
        "columns": {"customer": ["a", None], "spend__amount": [None, None]},
        "statuses": {"spend__amount": ["EXPIRED", "NOT_FOUND"]},
        "event_timestamps": {"spend__amount": ["2024-01-01T12:00:00+00:00", None]},
    }


def test_a_default_stands_for_what_is_not_present_and_the_status_stays(desk: Desk) -> None:
    rows = [{"customer": "a"}, {"customer": "b"}]

    answer = desk.ask(features="spend", entity_rows=rows, now=LATER, defaults={"visits": 0, "amount": "-Infinity"})

    assert answer.json() == {
        "columns": {"customer": ["a", "b"], "amount": [1.5, "-Infinity"], "visits": [0, 0]},
        "statuses": {"amount": ["PRESENT", "NOT_FOUND"], "visits": ["NULL", "NOT_FOUND"]},
    }


def test_a_default_has_the_name_and_the_type_that_its_column_has_in_the_answer(desk: Desk) -> None:
    nobody = {**A_KEY_IN_JSON, "flag": False}
    defaults = {
        "every__a_timestamp": "1969-12-31T23:59:59.999999+00:00", "every__a_decimal": "1.5000",
        "every__some_bytes": "AP8=", "every__a_date": "1969-12-31", "every__a_vector": [1.0, "NaN", 0.0],
    }  # fmt: skip

    answer = desk.ask(features="every", entity_rows=[nobody], full_feature_names=True, defaults=defaults)

    found = answer.json()
    assert {name: found["columns"][name] for name in defaults} == {name: [value] for name, value in defaults.items()}
    assert {statuses[0] for statuses in found["statuses"].values()} == {"NOT_FOUND"}


@pytest.mark.parametrize(
    ("defaults", "told"),
    [
        ({"nothing": 1}, "not asked for"),
        ({"visits": "three"}, "must be int64"),
        ({"amount": "much"}, "is not a float64"),
        ({"visits": 1.5}, "must be int64"),
    ],
)
def test_a_default_of_another_column_or_type_is_refused(desk: Desk, defaults: dict[str, object], told: str) -> None:
    answer = desk.ask(features="spend", entity_rows=[{"customer": "b"}], defaults=defaults)

    assert answer.status_code == 400
    assert told in answer.json()["detail"]


def test_columns_that_come_along_come_back(desk: Desk) -> None:
    row = {"customer": "a", "note": {"deep": [1, "é", None]}, "huge": 10**30}

    answer = desk.ask(features="spending", entity_rows=[row], now=LATER)

    assert answer.json()["columns"] == {**{name: [value] for name, value in row.items()}, "amount": [1.5]}


def test_feasts_request_gets_feasts_answer(desk: Desk) -> None:
    answer = desk.ask(
        feature_service="model", entities={"customer": ["a", "b"], "origin": ["JFK", "JFK"], "stop": [3, 3]}
    )

    # The row is older than the view's lookback of a day; the other view has none.
    old, epoch = "2024-01-01T12:00:00Z", "1970-01-01T00:00:00Z"
    assert answer.json() == {
        "metadata": {"feature_names": ["customer", "origin", "stop", "amount", "visits", "minutes"]},
        "results": [
            {"values": ["a", "b"], "statuses": ["PRESENT"] * 2, "event_timestamps": [epoch] * 2},
            {"values": ["JFK", "JFK"], "statuses": ["PRESENT"] * 2, "event_timestamps": [epoch] * 2},
            {"values": [3, 3], "statuses": ["PRESENT"] * 2, "event_timestamps": [epoch] * 2},
            {"values": [None] * 2, "statuses": ["OUTSIDE_MAX_AGE", "NOT_FOUND"], "event_timestamps": [old, epoch]},
            {"values": [None] * 2, "statuses": ["OUTSIDE_MAX_AGE", "NOT_FOUND"], "event_timestamps": [old, epoch]},
            {"values": [12.5] * 2, "statuses": ["PRESENT"] * 2, "event_timestamps": [old] * 2},
        ],
    }


def test_feasts_statuses_name_nulls_and_references_may_be_listed(desk: Desk) -> None:
    put(desk.serving.store, desk.serving.registry, "route", ("LGA", 1), {"minutes": None})

    answer = desk.ask(features=["route:minutes"], entities={"origin": ["LGA"], "stop": [1]}, full_feature_names=True)

    assert answer.json()["metadata"] == {"feature_names": ["origin", "stop", "route__minutes"]}
    assert answer.json()["results"][2]["statuses"] == ["NULL_VALUE"]


def test_a_key_that_is_called_as_a_field_does_not_decide_the_form(desk: Desk) -> None:
    ours = desk.ask(features="spend", entity_rows=[{"customer": "entities", "entities": 1}])
    feasts = desk.ask(features=["spend"], entities={"customer": ["entity_rows"], "entity_rows": [1]})

    assert ours.json()["columns"]["customer"] == ["entities"]
    assert feasts.json()["results"][0]["values"] == ["entity_rows"]


def test_every_dtype_goes_both_ways(desk: Desk) -> None:
    values = {
        "a_bool": False, "an_int32": -(2**31), "an_int64": -(2**63), "a_float32": math.inf, "a_float64": math.nan,
        "a_decimal": A_KEY[2] * 10**6, "a_string": "é\u0000\U0001f600", "some_bytes": b"", "a_date": A_KEY[1],
        "a_timestamp": A_KEY[0], "instants": [NOON], "words": [], "a_vector": [1.0, -math.inf, math.nan],
    }  # fmt: skip
    put(desk.serving.store, desk.serving.registry, "every", A_KEY, values)

    answer = desk.ask(features="every", entity_rows=[A_KEY_IN_JSON])

    assert answer.json()["columns"] == {
        **{name: [value] for name, value in A_KEY_IN_JSON.items()},
        "a_bool": [False], "an_int32": [-(2**31)], "an_int64": [-(2**63)], "a_float32": ["Infinity"],
        "a_float64": ["NaN"], "a_decimal": ["1500000.00"], "a_string": ["é\u0000\U0001f600"], "some_bytes": [""],
        "a_date": ["2024-01-01"], "a_timestamp": ["2024-01-01T00:00:00.000001+00:00"],
        "instants": [["2024-01-01T12:00:00+00:00"]], "words": [[]], "a_vector": [[1.0, "-Infinity", "NaN"]],
    }  # fmt: skip
    # Python's own reader takes NaN for a number; a strict one does not.
    json.loads(answer.text, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def test_feast_writes_and_reads_timestamps_as_seconds(desk: Desk) -> None:
    key = (NOON, *A_KEY[1:])
    put(
        desk.serving.store,
        desk.serving.registry,
        "every",
        key,
        dict.fromkeys(EVERY_FEATURE) | {"a_timestamp": NOON},
    )
    entities = {name: [value] for name, value in {**A_KEY_IN_JSON, "at": int(NOON.timestamp())}.items()}

    answer = desk.ask(features=["every:a_timestamp"], entities=entities)

    assert answer.json()["results"][-1]["values"] == [1704110400]
    assert answer.json()["results"][0]["values"] == [1704110400]


def test_arrow_is_answered_where_it_is_accepted(desk: Desk) -> None:
    put(
        desk.serving.store,
        desk.serving.registry,
        "every",
        A_KEY,
        dict.fromkeys(EVERY_FEATURE) | {"a_float64": math.nan},
    )
    arrow = {"accept": "application/vnd.apache.arrow.stream"}

    answer = desk.ask(
        features="every", entity_rows=[A_KEY_IN_JSON, {**A_KEY_IN_JSON, "big": 1}], event_timestamps=True, headers=arrow
    )

    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table["at"].to_pylist() == [A_KEY[0]] * 2
    assert table["price"].to_pylist() == [A_KEY[2]] * 2
    assert math.isnan(table["a_float64"][0].as_py())
    assert table["a_float64"].null_count == 1
    assert table["a_float64__status"].to_pylist() == ["PRESENT", "NOT_FOUND"]
    assert table["a_date__status"].to_pylist() == ["NULL", "NOT_FOUND"]
    assert table["a_date__event_timestamp"].to_pylist() == [NOON, None]
    assert table.schema.field("a_decimal").type == pa.decimal128(20, 4)
    assert table.schema.field("instants").type == pa.list_(pa.field("element", pa.timestamp("us", tz="UTC")))


@pytest.mark.parametrize("value", [{"k": 1}, [1, 2], [[[]]], {}])
def test_objects_that_came_along_have_no_arrow_type(desk: Desk, value: object) -> None:
    rows = [{"customer": "a", "note": None}, {"customer": "b", "note": value}]

    answer = desk.ask(features="spend", entity_rows=rows, headers={"accept": "application/vnd.apache.arrow.stream"})

    assert answer.status_code == 400
    assert "'note' has no Arrow type" in answer.json()["detail"]


def test_a_column_named_as_a_status_is_told_where_arrow_is_wanted(desk: Desk) -> None:
    rows = [{"customer": "a", "amount__status": 1}]

    answer = desk.ask(features="spend", entity_rows=rows, headers={"accept": "application/vnd.apache.arrow.stream"})

    assert answer.status_code == 400
    assert "'amount__status'" in answer.json()["detail"]


def test_what_callers_are_told_is_no_longer_than_they_can_read(desk: Desk) -> None:
    answer = desk.ask(features="a" * 100_000, entity_rows=[{"customer": "a"}])

    assert answer.status_code == 404
    assert len(answer.content) < 5000


def test_columns_without_an_arrow_type_are_told(desk: Desk) -> None:
    rows = [{"customer": "a", "note": 1}, {"customer": "b", "note": {"x": 1}}]

    answer = desk.ask(features="spend", entity_rows=rows, headers={"accept": "application/vnd.apache.arrow.stream"})

    assert answer.status_code == 400
    assert "'note' has no Arrow type" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"features": "spend", "entity_rows": [{}]}, 400, "lacks 'customer'"),
        ({"features": "spend", "entity_rows": [{"customer": 1}]}, 400, "must be a string"),
        ({"features": "every", "entity_rows": [{**A_KEY_IN_JSON, "at": "noon"}]}, 400, "entity_rows[0]['at']"),
        ({"features": "every", "entity_rows": [{**A_KEY_IN_JSON, "blob": "?"}]}, 400, "entity_rows[0]['blob']"),
        ({"features": "every", "entity_rows": [{**A_KEY_IN_JSON, "price": "1,5"}]}, 400, "entity_rows[0]['price']"),
        ({"features": "every", "entity_rows": [{**A_KEY_IN_JSON, "price": "1_0"}]}, 400, "entity_rows[0]['price']"),
        ({"features": "every", "entity_rows": [{**A_KEY_IN_JSON, "price": "\uff11"}]}, 400, "entity_rows[0]['price']"),
        ({"features": "every", "entity_rows": [{**A_KEY_IN_JSON, "big": 2**63}]}, 400, "must be an int64"),
        ({"features": "spent", "entity_rows": []}, 404, "did you mean 'spend'"),
        ({"features": "spend; DROP TABLE x", "entity_rows": []}, 400, "is not a reference"),
        ({"features": [], "entity_rows": []}, 400, "features is empty"),
        ({"features": "spend", "entity_rows": [], "now": "yesterday"}, 400, "is not an ISO time"),
        ({"features": "spend"}, 400, "missing required field `entity_rows`"),
        ({"features": "spend", "entity_rows": [], "feature": 1}, 400, "unknown field `feature`"),
        ({"features": "spend", "entity_rows": [1]}, 400, "Expected `object`, got `int` - at `$.entity_rows[0]`"),
        ({"features": ["spend"], "entities": {"customer": ["a"], "other": []}}, 400, "as many values each"),
        ({"entities": {"customer": ["a"]}}, 400, "neither features nor a feature_service"),
        ({"entities": {}, "features": ["spend"], "entity_rows": []}, 400, "unknown field"),
    ],
)  # fmt: skip
def test_wrong_requests_get_a_message_and_no_trace(desk: Desk, body: object, status: int, message: str) -> None:
    answer = desk.call("POST", "/get-online-features", json=body)

    assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert message in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"features": NaN}',
        b'{"features":"spend","entity_rows":[{"customer":"\\ud800"}]}',
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(desk: Desk, body: bytes) -> None:
    answer = desk.call("POST", "/get-online-features", content=body)

    assert answer.status_code == 400
    assert "the body is not a request" in answer.json()["detail"]


def test_text_in_keys_is_only_text(desk: Desk) -> None:
    hostile = [
        "' OR '1'='1",
        "'; DROP TABLE spend__v1; --",
        "a\x00b",
        "../../etc/passwd",
        "{{7*7}}",
        "\r\nSet-Cookie: x",
    ]

    answer = desk.ask(features="spend:amount", entity_rows=[{"customer": key} for key in [*hostile, "a"]], now=LATER)

    assert answer.json()["columns"]["customer"] == [*hostile, "a"]
    assert answer.json()["statuses"]["amount"] == ["NOT_FOUND"] * len(hostile) + ["PRESENT"]


def test_unknown_paths_and_methods_are_told(desk: Desk) -> None:
    assert desk.call("GET", "/").status_code == 404
    wrong = desk.call("GET", "/get-online-features")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert desk.call("HEAD", "/health").content == b""


def test_errors_of_the_installation_stay_inside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(tmp_path)
    desk.serving.registry.close()
    (tmp_path / "registry.db").unlink()
    (tmp_path / "registry.db").mkdir()

    answer = desk.ask(features="spend", entity_rows=[], headers={"x-request-id": "r-1"})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json() == {"detail": "the registry cannot be used now; try again (request r-1)"}
    told = [record for record in caplog.records if record.getMessage() == "request failed"]
    assert [vars(record)["request_id"] for record in told] == ["r-1"]


def test_an_internal_error_names_the_request_and_nothing_else(desk: Desk) -> None:
    class Broken:
        async def compiled_async(self, *, features: object, full_feature_names: bool) -> None:
            raise ZeroDivisionError("of host 10.0.0.1")

    serving = desk.serving
    desk.application = Application(
        Serving(client=Broken(), registry=serving.registry, store=serving.store, settings=serving.settings)  # type: ignore[arg-type]
    )

    answer = desk.ask(features="spend", entity_rows=[])

    assert answer.status_code == 500
    assert answer.json() == {"detail": f"internal error (request {answer.headers['x-request-id']})"}


def test_texts_that_say_null_are_told_apart_from_values_that_are_not_finite(desk: Desk) -> None:
    put(desk.serving.store, desk.serving.registry, "spend", ("null",), {"amount": math.inf, "visits": None})
    put(desk.serving.store, desk.serving.registry, "spend", ("NULL",), {"amount": 1.0, "visits": 3})
    rows = [{"customer": "null", "note": None}, {"customer": "NULL", "note": [None]}, {"customer": "b", "note": "x"}]

    ours = desk.ask(features="spend", entity_rows=rows, now=LATER)
    feasts = desk.ask(features=["spend"], entities={"customer": [row["customer"] for row in rows]})

    assert ours.json()["columns"] == {
        "customer": ["null", "NULL", "b"], "note": [None, [None], "x"], "amount": ["Infinity", 1.0, None],
        "visits": [None, 3, None],
    }  # fmt: skip
    # Of Feast's request the rows are too old, which leaves no value.
    assert [column["values"] for column in feasts.json()["results"]] == [["null", "NULL", "b"], [None] * 3, [None] * 3]


def test_of_feasts_services_and_features_it_is_feasts_rule_which_count(desk: Desk) -> None:
    both = desk.ask(entities={"customer": ["a"]}, features=["route"], feature_service="spending")
    empty = desk.ask(entities={"customer": ["a"]}, features=["spend:amount"], feature_service="")

    assert both.json()["metadata"] == empty.json()["metadata"] == {"feature_names": ["customer", "amount"]}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({"price": "0e999999999"}, "must be a decimal(5,2)"),
        ({"price": "1e-999999999"}, "must be a decimal(5,2)"),
        ({"price": "1e999999999"}, "must be a decimal(5,2)"),
        ({"price": "1." + "0" * 300 + "1"}, "must be a decimal(5,2)"),
        ({"price": "1000"}, "must be a decimal(5,2)"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "must be a timestamp"),
        ({"at": "9999-12-31T23:59:59-14:00"}, "must be a timestamp"),
    ],
)
def test_keys_that_no_table_holds_are_refused_before_they_are_computed_with(
    desk: Desk, key: dict[str, str], message: str
) -> None:
    answer = desk.ask(features="every", entity_rows=[{**A_KEY_IN_JSON, **key}])

    assert answer.status_code == 400
    assert message in answer.json()["detail"]


@pytest.mark.parametrize("price", ["1.5", "1.50000", "15e-1", "0.15e1", "001.5"])
def test_a_decimal_is_the_same_key_however_it_is_written(desk: Desk, price: str) -> None:
    answer = desk.ask(features="every:an_int32", entity_rows=[{**A_KEY_IN_JSON, "price": price}])

    assert (
        answer.json()["statuses"] == desk.ask(features="every:an_int32", entity_rows=[A_KEY_IN_JSON]).json()["statuses"]
    )


def test_feasts_seconds_may_have_a_fraction(desk: Desk) -> None:
    entities = {name: [value] for name, value in {**A_KEY_IN_JSON, "at": 1704067200.000001}.items()}

    answer = desk.ask(features=["every:an_int32"], entities=entities)

    assert answer.status_code == 200
    assert answer.json()["results"][0]["values"] == [1704067200.000001]


def test_a_version_of_too_many_digits_is_no_reference(desk: Desk) -> None:
    answer = desk.ask(features=f"spend@{'9' * 5000}", entity_rows=[])

    assert answer.status_code == 400
    assert "is not a reference" in answer.json()["detail"]


def test_feasts_values_that_are_not_finite_are_text(desk: Desk) -> None:
    put(desk.serving.store, desk.serving.registry, "route", ("null", 1), {"minutes": math.nan})

    answer = desk.ask(features=["route:minutes"], entities={"origin": ["null"], "stop": [1]})

    assert answer.json()["results"][-1]["values"] == ["NaN"]


def test_answers_are_what_the_document_describes(desk: Desk) -> None:
    ours = desk.ask(
        features="model", entity_rows=[{"customer": "a", "origin": "JFK", "stop": 3}], event_timestamps=True
    )
    feasts = desk.ask(feature_service="model", entities={"customer": ["a"], "origin": ["JFK"], "stop": [3]})

    # Decoding is strict about types; fields that are not described are told by the comparison.
    assert set(ours.json()) <= set(OnlineAnswer.__struct_fields__)
    assert msgspec.json.decode(ours.content, type=OnlineAnswer).statuses["minutes"] == ["PRESENT"]
    assert msgspec.to_builtins(msgspec.json.decode(feasts.content, type=FeastAnswer)) == feasts.json()
