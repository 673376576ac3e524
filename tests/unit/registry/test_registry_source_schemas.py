from datetime import timedelta

from features.core.discovery import Definitions
from features.registry import SourceSchema
from tests.builders import at

DAY2, DAY5 = at("2024-01-02"), at("2024-01-05")
OLD, NEW = {"b": "string", "a": "int"}, {"b": "string"}


def test_columns_are_kept_in_order_from_an_interval_on(registry, make_view):
    registry.apply(Definitions(views={"last_payment": make_view()}, services={}))
    view = registry.view("last_payment")
    assert registry.source_schemas(view) == ()

    registry.record_source_schemas(view, "run", since=DAY5, columns={"payments": NEW})
    registry.record_source_schemas(view, "run", since=DAY2, columns={"payments": OLD, "shops": NEW})

    assert registry.source_schemas(view) == (
        SourceSchema(source="payments", since=DAY2, columns=OLD, found=None),
        SourceSchema(source="payments", since=DAY5, columns=NEW, found=None),
        SourceSchema(source="shops", since=DAY2, columns=NEW, found=None),
    )
    assert list(registry.source_schemas(view)[0].columns) == ["b", "a"]


def test_what_was_refused_is_accepted_or_settled_by_a_build(registry, make_view):
    registry.apply(Definitions(views={"last_payment": make_view()}, services={}))
    view = registry.view("last_payment")
    registry.record_source_schemas(view, "run", since=DAY2, columns={"payments": OLD})
    assert registry.accept_source_schemas(view) == {}

    registry.refuse_source_schema(view, "refused", source="payments", since=DAY5, found=NEW)
    registry.refuse_source_schema(view, "refused", source="payments", since=DAY2, found=NEW)
    assert [(s.columns, s.found) for s in registry.source_schemas(view)] == [(OLD, NEW), (None, NEW)]
    assert registry.accept_source_schemas(view, actor="ana") == {"payments": NEW}
    assert [(s.columns, s.found) for s in registry.source_schemas(view)] == [(NEW, None), (NEW, None)]
    (entry,) = registry.audit(limit=1)
    assert (entry.actor, entry.action, entry.detail["view"]) == ("ana", "accept sources", "last_payment@1")

    later = DAY5 + timedelta(days=1)
    registry.refuse_source_schema(view, "refused", source="payments", since=later, found=OLD)
    registry.record_source_schemas(view, "run", since=later - timedelta(hours=1), columns={"payments": NEW})
    assert registry.accept_source_schemas(view) == {}
