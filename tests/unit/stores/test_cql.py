import pytest

from features import DType
from features.stores import cql
from tests.applied_views import applied_view


def test_keyspace_is_replicated_in_the_datacenter_that_settings_name():
    assert cql.create_keyspace("team", datacenter="eu-west", replication=3) == (
        "CREATE KEYSPACE IF NOT EXISTS \"team\" WITH replication = {'class': 'NetworkTopologyStrategy', 'eu-west': 3}"
    )


def test_table_has_all_join_keys_as_partition_key_then_times_then_features():
    view = applied_view(
        "route", keys={"origin": DType.STRING, "dest": DType.INT32}, features={"seen": DType.TIMESTAMP}, version=7
    )

    assert cql.create_table("features", view).startswith(
        'CREATE TABLE IF NOT EXISTS "features"."route__v7" ("origin" text, "dest" int, "event_timestamp" bigint, '
        '"created_timestamp" bigint, "seen" bigint, PRIMARY KEY (("origin", "dest"))) WITH comment = '
    )


def test_table_comment_says_whose_table_it_is_and_which_columns_are_times():
    view = applied_view(
        keys={"moment": DType.TIMESTAMP},
        features={"amount": DType.FLOAT64, "stops": DType.ARRAY(DType.TIMESTAMP), "seen": DType.TIMESTAMP},
        version=3,
    )

    assert cql.table_comment(view) == (
        f"spend@3, owner team@example.com, definition {view.definition_hash}: what customers spend; times are bigint "
        "microseconds since 1970-01-01 UTC: event_timestamp, created_timestamp, moment, stops, seen"
    )


def test_quotes_in_a_description_do_not_end_the_comment():
    statement = cql.create_table("features", applied_view(description="the customer's 'own' spend"))

    assert "the customer''s ''own'' spend" in statement


def test_insert_writes_whole_rows_at_a_bound_time_and_ttl():
    assert cql.insert("features", applied_view()) == (
        'INSERT INTO "features"."spend__v1" ("customer", "event_timestamp", "created_timestamp", "amount") '
        "VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"
    )


def test_delete_removes_the_row_of_a_composite_key_at_a_bound_time():
    view = applied_view(keys={"origin": DType.STRING, "dest": DType.STRING})

    assert cql.delete("features", view) == (
        'DELETE FROM "features"."spend__v1" USING TIMESTAMP ? WHERE "origin" = ? AND "dest" = ?'
    )


def test_select_reads_times_and_only_the_features_asked_for():
    view = applied_view(features={"amount": DType.FLOAT64, "visits": DType.INT64})

    assert cql.select("features", view, ["visits"]) == (
        'SELECT "event_timestamp", "created_timestamp", "visits" FROM "features"."spend__v1" WHERE "customer" = ?'
    )


def test_select_keys_reads_a_token_range_of_composite_keys():
    view = applied_view(keys={"origin": DType.STRING, "dest": DType.STRING})

    assert cql.select_keys("features", view) == (
        'SELECT "origin", "dest", WRITETIME("event_timestamp") FROM "features"."spend__v1" '
        'WHERE token("origin", "dest") > ? AND token("origin", "dest") <= ?'
    )


def test_the_comment_of_a_table_that_is_there_can_be_replaced():
    view = applied_view(description="the customer's spend")

    assert cql.alter_comment("features", view) == (
        f'ALTER TABLE "features"."spend__v1" WITH comment = \'{cql.table_comment(view)}\''.replace("r's", "r''s")
    )


def test_a_role_logs_in_only_once_it_has_a_password():
    assert "LOGIN = false" in cql.create_role("reader")
    assert cql.alter_login("reader", "it's") == "ALTER ROLE \"reader\" WITH PASSWORD = 'it''s' AND LOGIN = true"


def test_permissions_are_granted_and_taken_back_on_the_keyspace():
    assert cql.grant("SELECT", "features", "reader") == 'GRANT SELECT ON KEYSPACE "features" TO "reader"'
    assert cql.revoke("MODIFY", "features", "reader") == 'REVOKE MODIFY ON KEYSPACE "features" FROM "reader"'


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (DType.DECIMAL(12, 2), "decimal"),
        (DType.ARRAY(DType.TIMESTAMP), "frozen<list<bigint>>"),
        (DType.VECTOR(3), "vector<float, 3>"),
    ],
)
def test_columns_have_the_types_of_their_dtype(dtype, expected):
    assert cql.table_columns(applied_view(features={"value": dtype}))["value"] == expected


def test_write_timestamp_grows_with_the_position_and_depends_on_nothing_else():
    stamps = [cql.write_timestamp(position) for position in (0, 1, 2, 2, 10**12)]

    assert stamps == sorted(stamps)
    assert len(set(stamps)) == 4
