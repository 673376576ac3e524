"""Aggregations: the features that they become, and what a definition may not say."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from features import Aggregation, BatchSource, DType, Expect, Feature
from features.core.aggregations import label_window
from features.core.canonical import definition_hash, view_definition
from features.errors import DefinitionError
from tests.builders import apply_view, make_view, payments_source

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def mean(**changes: Any) -> Aggregation:
    given = {"column": "amount", "dtype": DType.FLOAT64, "function": "mean", "windows": [HOUR, 7 * DAY]}
    return Aggregation(**{**given, **changes})


def windowed(*aggregations: Aggregation, **changes: Any) -> Any:
    return make_view(**{"features": [], "transform": None, "aggregations": aggregations or [mean()], **changes})


@pytest.mark.parametrize(
    ("window", "label"),
    [
        (HOUR, "1h"),
        (DAY, "24h"),
        (7 * DAY, "7d"),
        (30 * DAY, "30d"),
        (36 * HOUR, "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=5), "5s"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(days=2, microseconds=1), "172800000001us"),
    ],
)
def test_a_window_is_named_in_the_largest_unit_that_divides_it(window: timedelta, label: str) -> None:
    assert label_window(window) == label


def test_each_window_is_a_feature_that_says_what_the_aggregation_says() -> None:
    made = mean(unit="EUR", description="mean over {window}", expect=Expect.between(0, 9), tags={"tier": "gold"})
    assert made.features == tuple(
        Feature(
            f"amount_mean_{label}",
            DType.FLOAT64,
            unit="EUR",
            description=f"mean over {label}",
            expect=[Expect.between(0, 9)],
            tags={"tier": "gold"},
        )
        for label in ("1h", "7d")
    )


@pytest.mark.parametrize(
    ("aggregation", "names"),
    [
        (mean(name="spend_{window}"), ("spend_1h", "spend_7d")),
        (mean(name="spend", windows=[HOUR]), ("spend",)),
        (mean(column="Amount", windows=[HOUR]), ("amount_mean_1h",)),
        (Aggregation(function="count", windows=[DAY]), ("count_24h",)),
    ],
)
def test_names_are_made_or_given(aggregation: Aggregation, names: tuple[str, ...]) -> None:
    assert aggregation.names == names


@pytest.mark.parametrize(
    ("made", "dtype"),
    [
        ({"function": "count"}, DType.INT64),
        ({"function": "sum", "dtype": DType.INT32}, DType.INT64),
        ({"function": "mean", "dtype": DType.BOOL}, DType.FLOAT64),
        ({"function": "max", "dtype": DType.INT32}, DType.INT32),
        ({"function": "last", "dtype": DType.STRING}, DType.STRING),
        ({"function": "last_n", "n": 3}, DType.ARRAY(DType.FLOAT64)),
        ({"function": "percentile", "q": 0.95}, DType.FLOAT64),
    ],
)
def test_the_type_of_a_feature_follows_from_the_columns(made: dict[str, Any], dtype: DType) -> None:
    assert {feature.dtype for feature in mean(**made).features} == {dtype}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"function": "average"}, "Aggregation 'average' of 'amount': no aggregate function 'average'; known: count"),
        ({"function": ["mean"]}, "function must be a string, got list"),
        ({"tags": {"a": 1}}, "tags['a'] must be a string, got int"),
        ({"column": None}, "dtype needs a column that is of it"),
        ({"dtype": None}, "dtype must be the column's DType, such as DType.FLOAT64, got None"),
        ({"dtype": DType.STRING}, "mean does not take a column of string"),
        ({"column": None, "dtype": None}, "mean needs a column; only count can do without one"),
        ({"column": "event_timestamp"}, "'event_timestamp' is a column of the feature store itself"),
        ({"windows": []}, "windows must hold at least one timedelta"),
        ({"windows": [3600]}, "windows must hold timedelta only, got int 3600"),
        ({"windows": [timedelta(0)]}, "windows must be positive, got 0:00:00"),
        ({"windows": [DAY, 24 * HOUR]}, "windows holds '24h' twice"),
        ({"name": "spend"}, "name 'spend' would name 2 features; let it hold {window}"),
        ({"name": "Spend_{window}"}, "'Spend_1h' must be lower case letters"),
        ({"column": "a b"}, "'a b_mean_1h' must be lower case letters"),
        ({"n": 3}, "mean: takes no argument n"),
        ({"function": "last_n"}, "last_n: needs argument n"),
        ({"function": "percentile", "q": 2}, "q must be a number between 0 and 1, got 2"),
        ({"where": " "}, "where must not be empty"),
        ({"where": "at > current_timestamp"}, "asks current_timestamp, which answers differently"),
        ({"where": "at > now() - interval 1 day"}, "asks now, which answers differently"),
        ({"where": "rand () < 0.5"}, "asks rand, which answers differently"),
        ({"where": "row_number() OVER (order by amount) = 1"}, "looks at other rows (over)"),
        ({"where": "amount > ( select max(x) from y)"}, "looks at other rows (select)"),
        ({"windows": [timedelta(days=366 * 10_000, microseconds=1)]}, "windows must be at most 10,000 years"),
        ({"expect": Expect.matches("a")}, "needs a STRING feature, this one is float64"),
    ],
)  # fmt: skip
def test_an_invalid_aggregation_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as failure:
        mean(**changes)
    assert message in str(failure.value)


@pytest.mark.parametrize(
    "where",
    ["kind = 'now()'", "`current_date` > 0", 'note <> "rand()"', "uuid is not null", "over > 1", "x = 'over ('"],
)
def test_a_filter_may_name_what_sounds_like_a_clock_or_other_rows(where: str) -> None:
    assert mean(where=where).where == where


def test_a_view_has_its_own_features_and_behind_them_those_of_its_aggregations() -> None:
    view = windowed(mean(windows=[HOUR]), features=[Feature("amount", DType.FLOAT64)])
    assert [f.name for f in view.features] == ["amount", "amount_mean_1h"]
    assert [f.name for f in view.own_features] == ["amount"]
    assert view.feature("amount_mean_1h").dtype == DType.FLOAT64


def test_a_copy_of_a_view_is_the_view() -> None:
    view = windowed(mean(), features=[Feature("amount", DType.FLOAT64)])
    assert replace(view, retention=None) == view


def test_history_is_the_longest_window_beyond_what_the_transform_needs() -> None:
    assert windowed().history == 7 * DAY
    source = payments_source(history=2 * DAY)
    assert windowed(sources=[source], transform=lambda payments: payments).history == 9 * DAY


def test_retention_covers_the_longest_window() -> None:
    with pytest.raises(DefinitionError, match=r"retention must be at least lookback \+ history = 9 days"):
        windowed(lookback=2 * DAY, retention=9 * DAY - timedelta(microseconds=1))
    assert windowed(lookback=2 * DAY, retention=9 * DAY).retention == 9 * DAY


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregations": []}, "features must hold at least one Feature"),
        ({"features": [Feature("amount_mean_1h", DType.FLOAT32)]}, "features holds 'amount_mean_1h' twice"),
        ({"aggregations": [mean(), mean(where="amount > 0")]}, "aggregations holds 'amount_mean_1h' twice"),
        ({"sources": [payments_source(), payments_source(name="refunds")]}, "write one that joins them"),
        ({"values_at": "row"}, "values_at must be one of 'event', 'tick', got 'row'"),
        ({"values_at": "tick", "schedule": None}, "needs aggregations, and a schedule that ticks"),
        (
            {"values_at": "tick", "features": [Feature("amount", DType.FLOAT64)]},
            "has no row whose 'amount' a tick could take",
        ),
        ({"sources": [payments_source(created_timestamp_field="seen_at")], "available": "source"}, "imports what was"),
        ({"transform": "payments"}, "transform must be a function, got str"),
    ],
)
def test_an_invalid_view_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as failure:
        windowed(**changes)
    assert message in str(failure.value)


def test_a_view_without_aggregations_needs_a_transform() -> None:
    with pytest.raises(DefinitionError, match="transform must be a function, got NoneType"):
        make_view(transform=None)


def test_an_applied_view_has_one_aggregation_for_each_feature() -> None:
    last_n = mean(function="last_n", n=2, windows=[HOUR], where="amount > 0")
    percentile = mean(function="percentile", q=0.5, windows=[HOUR])
    view = windowed(mean(expect=Expect.not_null(), unit="EUR"), percentile, last_n, values_at="tick")
    applied = apply_view(view)
    assert applied.features == view.features
    assert applied.aggregations == (
        replace(last_n, name="amount_last_n_1h"),
        mean(windows=[HOUR], name="amount_mean_1h"),
        mean(windows=[7 * DAY], name="amount_mean_7d"),
        replace(percentile, name="amount_percentile_1h"),
    )
    assert (applied.values_at, applied.history) == ("tick", 7 * DAY)


def hash_of(*aggregations: Aggregation, **changes: Any) -> str:
    return definition_hash(view_definition(windowed(*aggregations, **changes)))


@pytest.mark.parametrize(
    "same",
    [
        [mean(windows=[7 * DAY, HOUR])],
        [mean(windows=[7 * DAY]), mean(windows=[HOUR])],
        [mean(name="amount_mean_{window}")],
        [mean(unit="EUR", description="d", expect=[Expect.not_null()], tags={"a": "b"})],
    ],
)
def test_what_changes_no_value_keeps_the_version(same: list[Aggregation]) -> None:
    assert hash_of(*same) == hash_of(mean())


@pytest.mark.parametrize(
    "other",
    [
        {"windows": [HOUR, 8 * DAY], "name": "amount_mean_{window}"},
        {"windows": [HOUR]},
        {"where": "amount > 0"},
        {"column": "price", "name": "amount_mean_{window}"},
        {"dtype": DType.FLOAT32},
        {"function": "stddev", "name": "amount_mean_{window}"},
        {"name": "spend_{window}"},
    ],
)
def test_what_changes_a_value_is_a_new_version(other: dict[str, Any]) -> None:
    assert hash_of(mean(**other)) != hash_of(mean())


def test_where_windows_end_makes_a_version() -> None:
    assert hash_of(values_at="tick") != hash_of(values_at="event")
    quantiles = [mean(function="percentile", q=q, name="p_{window}") for q in (0.5, 0.9, 1, 1.0)]
    assert len({hash_of(quantile) for quantile in quantiles}) == 3


def test_a_view_without_aggregations_is_defined_as_it_always_was() -> None:
    assert not {"aggregations", "values_at"} & set(view_definition(make_view()))


def test_a_source_is_read_as_it_is_where_there_is_no_transform() -> None:
    source = BatchSource(name="payments", path="p", format="parquet", timestamp_field="paid_at")
    assert view_definition(windowed(sources=[source]))["transform"] is None
