"""Which rows a request means: of which entity, in which versions of views, by keys of which types."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import DType, Entity
from features.core.applied import AppliedView
from features.core.discovery import Definitions
from features.core.key_text import parse_key, write_key
from features.core.processes import ProcessId
from features.erasure.eraser import tell_under_way
from features.erasure.request import GONE, ErasureRequest, make_request, read_keys
from features.erasure.set_files import FileEraser, doomed_rows, typed_keys
from features.errors import NotFoundError, UsageError
from features.materialization.quarantine import tell_key
from features.registry import Registry
from tests.builders import CUSTOMER, apply_view, make_view

SHOP = Entity(name="shop", join_keys={"shop": DType.INT32})
OLD_SHOP = Entity(name="shop", join_keys={"shop": DType.STRING})
ROUTE = Entity(name="route", join_keys={"origin": DType.STRING, "dest": DType.STRING})
PRODUCT = Entity(name="product", join_keys={"customer": DType.STRING})


def view(name: str, *entities: Entity, version: int = 1) -> AppliedView:
    return apply_view(make_view(name=name, entities=list(entities)), version)


VIEWS = (
    view("last", CUSTOMER),
    view("last", CUSTOMER, version=2),
    view("pairs", SHOP, CUSTOMER),
    view("prices", PRODUCT),
    view("shops", OLD_SHOP),
    view("shops", SHOP, version=2),
    view("routes", ROUTE),
)


def names(views: tuple[AppliedView, ...]) -> list[str]:
    return [found.reference for found in views]


def test_every_version_whose_keys_include_the_entitys_is_concerned_but_no_namesake() -> None:
    request = make_request([{"customer": "a"}], entity="customer", views=VIEWS)
    assert names(request.concerned(VIEWS)) == ["last@1", "last@2", "pairs@1"]


def test_an_entity_is_found_by_its_join_keys_and_asked_for_where_two_have_them() -> None:
    assert make_request([{"dest": "SFO", "origin": "EWR"}], entity=None, views=VIEWS).keys == (("EWR", "SFO"),)
    with pytest.raises(UsageError, match="join keys of customer and product; say which"):
        make_request([{"customer": "a"}], entity=None, views=VIEWS)
    with pytest.raises(UsageError, match=r"origin are not the join keys of an entity; give all of one: .*route \("):
        make_request([{"origin": "EWR"}], entity=None, views=VIEWS)
    with pytest.raises(NotFoundError, match="did you mean 'shop'"):
        make_request([{"shop": 1}], entity="shops", views=VIEWS)


def test_a_key_has_the_type_of_each_version_and_none_where_it_cannot_be_one() -> None:
    request = make_request([{"shop": "7"}, {"shop": 7}, {"shop": "x"}, {"shop": 2**40}], entity=None, views=VIEWS)
    assert request.typed({"shop": DType.INT32}).to_pylist() == [{"shop": 7}]
    assert request.typed({"shop": DType.STRING}).num_rows == 3
    assert request.typed({"shop": DType.INT32}).schema.field("shop").type == pa.int32()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([], "which rows"),
        ([{"customer": "a"}, {"shop": 1}], "make a request for each entity"),
        ([{"origin": None, "dest": "SFO"}], "origin: a join key cannot be NoneType"),
        ([{"shop": 1.5}], "cannot be float"),
    ],
)
def test_what_is_no_key_is_refused(keys: list[dict[str, object]], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_request(keys, entity=None, views=VIEWS)


def test_keys_of_no_type_that_any_version_has_are_counted() -> None:
    numbers = [view("shops", SHOP)]
    with pytest.raises(UsageError, match=r"1 of 2 keys are not of the types of 'shop' \(shop: int32\)"):
        make_request([{"shop": "x"}, {"shop": "1"}], entity=None, views=numbers)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (True, DType.BOOL), (-5, DType.INT64), ("a=b, 'c'", DType.STRING), (b"\0\xff", DType.BYTES),
        (datetime(2024, 1, 1, 1, 2, 3, 4, tzinfo=UTC), DType.TIMESTAMP),
        (datetime(2024, 1, 1, tzinfo=UTC).date(), DType.DATE),
    ],
)  # fmt: skip
def test_a_key_that_was_written_reads_as_the_same(value: object, dtype: DType) -> None:
    assert parse_key(write_key(value), dtype, name="k") == value


def test_files_of_keys_keep_texts_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("customer,shop\n007,1\nNA,2\n")
    pq.write_table(pa.table({"shop": [1, 2]}), tmp_path / "keys.parquet")
    assert read_keys(str(tmp_path / "keys.csv"))[0] == {"customer": "007", "shop": "1"}
    assert [key["customer"] for key in read_keys(str(tmp_path / "keys.csv"))] == ["007", "NA"]
    assert read_keys(str(tmp_path / "keys.parquet")) == ({"shop": 1}, {"shop": 2})
    with pytest.raises(UsageError, match="cannot be read"):
        read_keys(str(tmp_path / "none.csv"))
    pq.write_table(pa.table({"shop": [1, None]}), tmp_path / "keys.parquet")
    with pytest.raises(UsageError, match="hold nulls"):
        read_keys(str(tmp_path / "keys.parquet"))


def test_keys_leave_texts_in_every_form_that_messages_write() -> None:
    long = "x" * 50
    request = ErasureRequest(entity="customer", columns=("customer",), keys=(("it's",), (long,), ("7",)))
    scrub = request.scrubber([{"customer": DType.STRING}, {"customer": DType.INT64}])
    told = f"such as customer=\"it's\"; customer='{'x' * 40}'..., shop=7; customer=7, amount=7; customer='7b'"
    assert scrub(told) == f"such as customer={GONE}; customer={GONE}, shop=7; customer={GONE}, amount=7; customer='7b'"
    assert scrub("old_customer=7") == "old_customer=7"


def test_a_key_of_two_columns_leaves_texts_that_name_both() -> None:
    request = ErasureRequest(entity="route", columns=("origin", "dest"), keys=(("EWR", "SFO"),))
    scrub = request.scrubber([{"origin": DType.STRING, "dest": DType.STRING}])
    assert scrub("origin='EWR', dest='SFO'") == f"origin={GONE}, dest={GONE}"
    assert scrub("origin='EWR', dest='LAX'") == "origin='EWR', dest='LAX'"


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (DType.STRING, "it's one"),
        (DType.INT64, 7),
        (DType.BOOL, True),
        (DType.BYTES, b"\x00x"),
        (DType.DATE, date(2024, 1, 2)),
        (DType.TIMESTAMP, datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))),
        (DType.DECIMAL(9, 2), Decimal("1.50")),
    ],
)
def test_a_key_leaves_what_the_audit_log_tells_of_released_rows(dtype: DType, value: Any) -> None:
    request = ErasureRequest(entity="e", columns=("k",), keys=((write_key(value),),))
    assert request.scrubber([{"k": dtype}])(tell_key({"k": value, "shop": 1})) == f"k={GONE}, shop=1"


def test_what_is_under_way_and_may_bring_rows_back_is_told(tmp_path: Path) -> None:
    code, other = make_view(), make_view(name="other")
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        registry.apply(Definitions(views={code.name: code, other.name: other}, services={}))
        views = [registry.view(code.name)]
        assert tell_under_way(registry.running(), views) == ()
        for kind, of in (("load", code), ("build", other)):
            registry.start_run(kind=kind, view=registry.view(of.name), start=None, end=None, now=datetime.now(UTC))
        assert tell_under_way(registry.running(), views) == ()
        run_id = registry.start_run(kind="build", view=views[0], start=None, end=None, now=datetime.now(UTC))
        (told,) = tell_under_way(registry.running(), views)
        assert "(build of last_payment@1), erase again" in told
        killed = ProcessId(host=ProcessId.own().host, pid=ProcessId.own().pid, mark="of another boot")
        assert tell_under_way([replace(run, process=killed) for run in registry.running()], views) == ()
        registry.finish_run(run_id, status="built")
        assert tell_under_way(registry.running(), views) == ()


def test_rows_of_files_match_whole_keys_in_the_files_own_types() -> None:
    request = ErasureRequest(entity="pair", columns=("a", "b"), keys=(("x", "1"), ("y", "2"), ("z", "no")))
    table = pa.table(
        {
            "a": pa.array(["x", "x", "y", None, "z"]).dictionary_encode(),
            "b": pa.array([1, 2, 2, 1, None], pa.uint8()),
        }
    )
    keys = typed_keys(request, table.schema)
    assert keys.to_pylist() == [{"a": "x", "b": 1}, {"a": "y", "b": 2}]
    assert doomed_rows(table.to_batches()[0], keys).tolist() == [True, False, True, False, False]
    assert typed_keys(request, pa.schema([("a", pa.float64()), ("b", pa.int8())])).num_rows == 0


def test_a_file_is_replaced_whole_and_stays_readable_without_rows(tmp_path: Path) -> None:
    path = str(tmp_path / "part-1.parquet")
    pq.write_table(pa.table({"customer": ["a", "a"], "n": [1, 2]}), path)
    request = ErasureRequest(entity="customer", columns=("customer",), keys=(("a",),))

    def run(dry: bool) -> dict[str, object]:
        paths = pa.RecordBatch.from_pydict({"path": [path]})
        (answer,) = FileEraser(request=request, dry=dry)(iter([paths]))
        return dict(answer.to_pylist()[0])

    assert (run(dry=True)["erased"], pq.read_table(path).num_rows) == (2, 2)
    assert (run(dry=False)["erased"], run(dry=False)["erased"]) == (2, 0)
    assert (pq.read_table(path).num_rows, pq.read_table(path).column_names) == (0, ["customer", "n"])
    assert [file.name for file in tmp_path.iterdir()] == ["part-1.parquet"]
