"""Compiling a request: what is read for what is asked, and how columns are named."""

import pytest

from features import DType, Feature, RequestSource, on_demand
from features.core.request import compile_request
from features.errors import UsageError
from tests.applied_views import ROUTE, SPEND, applied_view, requested
from tests.on_demand_views import CHECKS, TRANSACTION, apply_on_demand, derived


def reads(compiled):
    return {
        s.view.reference: dict(zip([f.name for f in s.features], s.columns, strict=True)) for s in compiled.selections
    }


def test_stored_features_alone_are_read_as_they_are_asked():
    compiled = compile_request((*requested(SPEND, "visits"), *requested(ROUTE), *requested(SPEND, "amount")))

    assert reads(compiled) == {"spend@1": {"visits": "visits", "amount": "amount"}, "route@1": {"minutes": "minutes"}}
    assert compiled.columns == ("visits", "minutes", "amount")
    assert list(compiled.join_keys) == ["customer", "origin", "stop"]
    assert (compiled.computed, compiled.request_columns) == ((), {})


def test_inputs_that_nobody_asked_for_are_read_under_a_name_of_their_own():
    compiled = compile_request((*derived(CHECKS, "is_night"), *requested(SPEND, "visits")))

    assert reads(compiled) == {"spend@1": {"visits": "visits", "amount": "_spend__v1__amount"}}
    assert compiled.columns == ("is_night", "visits")
    (computed,) = compiled.computed
    assert computed.inputs == {"amount": "_spend__v1__amount", "price": "price", "paid_at": "paid_at"}
    assert computed.columns == {"is_night": "is_night"}
    assert compiled.given_columns == {"customer": DType.STRING, **TRANSACTION.schema}


def test_inputs_that_are_asked_for_too_are_read_once():
    asked = (*derived(CHECKS, "times_usual"), *requested(SPEND, "amount"), *derived(CHECKS, "is_night"))

    compiled = compile_request(asked, full_feature_names=True)

    assert reads(compiled) == {"spend@1": {"amount": "spend__amount"}}
    assert compiled.columns == ("checks__times_usual", "spend__amount", "checks__is_night")
    assert compiled.computed[0].inputs["amount"] == "spend__amount"
    assert compiled.computed[0].columns == {"times_usual": "checks__times_usual", "is_night": "checks__is_night"}


def test_versions_of_a_view_are_read_apart():
    newer = applied_view("spend", features={"amount": DType.FLOAT64}, version=2)

    compiled = compile_request((*derived(CHECKS), *requested(newer, "amount")))

    assert reads(compiled) == {"spend@2": {"amount": "amount"}, "spend@1": {"amount": "_spend__v1__amount"}}
    assert compiled.computed[0].inputs["amount"] == "_spend__v1__amount"


def test_a_join_key_of_two_types_is_refused():
    other = applied_view("orders", features={"total": DType.FLOAT64}, keys={"customer": DType.INT64})

    with pytest.raises(UsageError, match=r"'customer' is string in spend@1 and int64 in orders@1; ask for them apart"):
        compile_request((*requested(SPEND), *requested(other)))


def make(name, schema, *inputs, output="y"):
    source = RequestSource(name="given", schema=schema)
    return apply_on_demand(
        on_demand(inputs=[*inputs, source], returns=[Feature(output, DType.BOOL)], name=name)(lambda batch: batch),
        SPEND,
    )


def test_a_join_key_may_be_a_request_column_of_its_own_type_only():
    compiled = compile_request(derived(make("keyed", {"customer": DType.STRING}, "spend:amount")))

    assert compiled.given_columns == {"customer": DType.STRING}
    with pytest.raises(UsageError, match="'customer' is a join key, string, and a request column, int64; rename one"):
        compile_request(derived(make("keyed", {"customer": DType.INT64}, "spend:amount")))


def test_views_must_agree_on_a_request_column():
    one, other = make("one", {"x": DType.INT32}), make("other", {"x": DType.INT64}, output="z")

    with pytest.raises(UsageError, match="other@1 reads 'x' of the request as int64, another view as int32"):
        compile_request((*derived(one), *derived(other)))


def test_a_feature_with_the_name_of_a_request_column_needs_its_full_name():
    view = make("named", {"amount": DType.FLOAT64})
    asked = (*derived(view), *requested(SPEND, "amount"))

    with pytest.raises(UsageError, match="feature spend:amount has the name of a request column"):
        compile_request(asked)
    assert compile_request(asked, full_feature_names=True).columns == ("named__y", "spend__amount")


def test_computed_and_stored_features_of_one_name_need_full_names():
    asked = (*derived(make("one", {"x": DType.INT32}, output="visits")), *requested(SPEND, "visits"))

    with pytest.raises(UsageError, match="two features would be named 'visits', of one@1 and spend@1"):
        compile_request(asked)
