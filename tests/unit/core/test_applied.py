import pytest

from features import DType
from features.core.applied import AppliedService, RequestedFeature, name_columns, select_by_view
from features.errors import UsageError
from tests.applied_views import applied_view, requested

SPEND = applied_view("spend", features={"amount": DType.FLOAT64, "visits": DType.INT64})
REFUND = applied_view("refund", features={"amount": DType.FLOAT64})
OLD = applied_view("spend", features={"amount": DType.FLOAT64}, version=2)


def test_columns_have_bare_names_or_full_ones() -> None:
    asked = requested(SPEND, "visits", "amount")

    assert name_columns(asked) == ("visits", "amount")
    assert name_columns(asked, full_feature_names=True) == ("spend__visits", "spend__amount")


def test_one_name_of_two_views_needs_full_names() -> None:
    asked = [*requested(SPEND, "amount"), *requested(REFUND, "amount")]

    with pytest.raises(UsageError, match=r"two features would be named 'amount', of spend@1 and refund@1; pass full_"):
        name_columns(asked)
    assert name_columns(asked, full_feature_names=True) == ("spend__amount", "refund__amount")


def test_one_name_of_two_versions_has_no_way_out_but_to_ask_for_one() -> None:
    asked = [*requested(SPEND, "amount"), *requested(OLD, "amount")]

    with pytest.raises(UsageError, match="named 'spend__amount', of spend@1 and spend@2; ask for one of them"):
        name_columns(asked, full_feature_names=True)


def test_a_feature_with_the_name_of_another_views_key_needs_full_names() -> None:
    plane = applied_view("plane", keys={"visits": DType.STRING}, features={"age": DType.INT32})
    asked = [*requested(plane, "age"), *requested(SPEND, "visits")]

    with pytest.raises(
        UsageError, match="feature spend:visits has the name of a join key; pass full_feature_names=True"
    ):
        name_columns(asked)
    assert name_columns(asked, full_feature_names=True) == ("plane__age", "spend__visits")


def test_a_request_is_grouped_by_version_in_the_order_asked() -> None:
    asked = [*requested(SPEND, "visits"), *requested(REFUND), *requested(SPEND, "amount"), *requested(OLD)]

    selections = select_by_view(asked, ("a", "b", "c", "d"))

    assert [(s.view.reference, [f.name for f in s.features], s.columns) for s in selections] == [
        ("spend@1", ["visits", "amount"], ("a", "c")),
        ("refund@1", ["amount"], ("b",)),
        ("spend@2", ["amount"], ("d",)),
    ]


def test_a_request_needs_a_column_for_each_feature() -> None:
    with pytest.raises(ValueError, match="zip"):
        select_by_view([RequestedFeature(SPEND, SPEND.feature("amount"))], ())


def test_a_version_of_a_service_has_a_reference() -> None:
    assert AppliedService(name="fraud", features=["spend"], version=3).reference == "fraud@3"
