from datetime import timedelta

import pytest

from features import DType, Feature, FeatureService
from features.errors import NotFoundError, UsageError


@pytest.fixture
def filled(registry, define, make_view):
    """last_payment at versions 1 (amount) and 2 (amount, currency), orders, and a service of both."""
    orders = make_view(name="orders", features=[Feature("count_7d", DType.INT64), Feature("total_7d", DType.FLOAT64)])
    registry.apply(define(make_view(), orders))
    amount, currency = Feature("amount", DType.FLOAT64), Feature("currency", DType.STRING)
    service = FeatureService(name="fraud", features=["orders:total_7d", "last_payment"])
    registry.apply(define(make_view(features=[amount, currency]), orders, service))
    return registry


def asked(requested):
    return [f"{item.view.reference}:{item.feature.name}" for item in requested]


def test_view_by_name_is_its_current_version(filled):
    assert filled.view("last_payment").version == 2
    assert filled.view("last_payment@1").version == 1
    assert [view.reference for view in filled.views()] == ["last_payment@2", "orders@1"]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("last_paymnt", "no feature view 'last_paymnt'; did you mean 'last_payment'?"),
        ("last_payment@7", "no version 7 of feature view 'last_payment'; known: last_payment@1, last_payment@2"),
        ("last_payment@99999999999999999999", "no version 99999999999999999999"),
    ],
)
def test_unknown_view_is_told_with_what_is_known(filled, reference, told):
    with pytest.raises(NotFoundError) as error:
        filled.view(reference)
    assert told in str(error.value)


@pytest.mark.parametrize("text", ["", "Last", "a@0", "a:b:c", "a b"])
def test_text_that_is_no_reference_is_wrong_usage(filled, text):
    with pytest.raises(UsageError, match="is not a reference"):
        filled.view(text)


def test_view_by_a_features_reference_is_wrong_usage(filled):
    with pytest.raises(UsageError, match="'orders:count_7d' names a feature; give a feature view: 'orders'"):
        filled.view("orders:count_7d")


def test_empty_registry_says_what_to_do(registry):
    with pytest.raises(NotFoundError, match="features apply"):
        registry.view("orders")


@pytest.mark.parametrize(
    ("features", "found"),
    [
        ("fraud", ["orders@1:total_7d", "last_payment@2:amount", "last_payment@2:currency"]),
        ("fraud@1", ["orders@1:total_7d", "last_payment@2:amount", "last_payment@2:currency"]),
        ("orders", ["orders@1:count_7d", "orders@1:total_7d"]),
        ("last_payment@1", ["last_payment@1:amount"]),
        ("orders:count_7d", ["orders@1:count_7d"]),
        (["orders:total_7d", "orders:count_7d"], ["orders@1:total_7d", "orders@1:count_7d"]),
        (("last_payment@1:amount", "last_payment:amount"), ["last_payment@1:amount", "last_payment@2:amount"]),
    ],
)
def test_features_are_resolved_in_the_order_asked(filled, features, found):
    assert asked(filled.resolve(features)) == found


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (["last_paymnt:amount"], "'last_paymnt:amount': no feature view 'last_paymnt'; did you mean 'last_payment'?"),
        (
            ["last_payment:amuont"],
            "'last_payment:amuont': no feature in last_payment@2 'amuont'; did you mean 'amount'?",
        ),
        (["last_payment@1:currency"], "'last_payment@1:currency': no feature in last_payment@1 'currency'"),
        (["orders@4:total_7d"], "'orders@4:total_7d': no version 4 of feature view 'orders'; known: orders@1"),
        ("fruad", "no feature service or view 'fruad'; did you mean 'fraud'?"),
        ("fraud@3", "no version 3 of feature service 'fraud'; known: fraud@1"),
    ],
)
def test_unknown_feature_names_the_whole_reference_and_the_nearest(filled, features, told):
    with pytest.raises(NotFoundError) as error:
        filled.resolve(features)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ([], "features is empty"),
        (["orders:count_7d", "orders:count_7d"], "'count_7d' of orders@1 is asked twice"),
        (["orders", "orders@1:count_7d"], "asked twice, by 'orders' and 'orders@1:count_7d'"),
        (["fraud"], "'fraud' is a feature service; give it alone"),
        (["Orders!"], "is not a reference"),
    ],
)
def test_request_that_makes_no_sense_is_wrong_usage(filled, features, told):
    with pytest.raises(UsageError) as error:
        filled.resolve(features)
    assert told in str(error.value)


def test_service_follows_the_current_version_unless_pinned(filled, define, make_view):
    service = FeatureService(name="fraud", features=["last_payment:amount", "orders@1:total_7d"])
    filled.apply(define(make_view(delay=timedelta(hours=9)), make_view(name="orders", delay=timedelta(0)), service))

    assert asked(filled.resolve("fraud")) == ["last_payment@3:amount", "orders@1:total_7d"]
