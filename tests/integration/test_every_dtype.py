"""Every dtype through build, Delta, load, the online store and the client: what the gate lets in comes out."""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import DType, Entity, Feature
from features.config import OnlineSettings
from features.serving.client import OnlineClient
from features.stores.cassandra import CassandraStore
from tests.builders import UTC_MICROS, Workshop, at, make_view, payments_source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from features.embedded.cassandra import CassandraNode

pytestmark = [pytest.mark.spark, pytest.mark.integration]

NAN, INF = float("nan"), float("inf")
LONG = "long" * 10_000
EARLY, LATE = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
# Feature, its type, and its value in an ordinary, a smallest, a greatest, an empty and a unicode row.
SMALLEST_PRICE, GREATEST_PRICE = Decimal("-" + "9" * 36 + ".99"), Decimal("9" * 36 + ".99")
BEFORE_1970 = at("1969-12-31 23:59:59.999999")
COLUMNS: list[tuple[str, DType, pa.DataType, list[Any]]] = [
    ("flag", DType.BOOL, pa.bool_(), [True, False, True, None, False]),
    ("small", DType.INT32, pa.int32(), [1, -(2**31), 2**31 - 1, 0, None]),
    ("big", DType.INT64, pa.int64(), [1, -(2**63), 2**63 - 1, 0, None]),
    ("single", DType.FLOAT32, pa.float32(), [0.5, -INF, INF, NAN, 2.0**-149]),
    ("double", DType.FLOAT64, pa.float64(), [0.1, -INF, 1.7976931348623157e308, NAN, 5e-324]),
    (
        "price",
        DType.DECIMAL(38, 2),
        pa.decimal128(38, 2),
        [Decimal("1.10"), SMALLEST_PRICE, GREATEST_PRICE, Decimal("0.00"), None],
    ),
    ("text", DType.STRING, pa.string(), ["x", " ", LONG, "", "naïve 東京 🛬 \x00"]),
    ("raw", DType.BYTES, pa.binary(), [b"x", b"\x00", bytes(range(256)) * 100, b"", None]),
    ("day", DType.DATE, pa.date32(), [date(2024, 2, 29), date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1), None]),
    ("moment", DType.TIMESTAMP, UTC_MICROS, [at("2024-03-10 07:00:00.123456"), EARLY, LATE, BEFORE_1970, None]),
    ("names", DType.ARRAY(DType.STRING), pa.list_(pa.string()), [["a", "b"], [""], [LONG], [], ["東京"]]),
    ("moments", DType.ARRAY(DType.TIMESTAMP), pa.list_(UTC_MICROS), [[at("2024-01-01")], [EARLY], [LATE], [], None]),
    (
        "prices",
        DType.ARRAY(DType.DECIMAL(5, 1)),
        pa.list_(pa.decimal128(5, 1)),
        [[Decimal("1.5")], [Decimal("-9999.9")], [Decimal("9999.9")], [], None],
    ),
    (
        "embedding",
        DType.VECTOR(3),
        pa.list_(pa.float32()),
        [[1.0, 2.0, 3.0], [-INF, INF, 0.0], [2.0**-149, -0.0, 3.0], [NAN, NAN, NAN], None],
    ),
]
KEYS = [
    ("a", 1, at("2024-01-01"), True, b"\x00"),
    ("ab", -(2**63), EARLY, False, b"x"),
    ("東京", 2**63 - 1, LATE, True, bytes(range(256))),
    (" ", 0, BEFORE_1970, False, b"\x00"),
    ("a:b", 1, at("2024-01-01"), True, b"\x00"),
]
ALL_NULL = ("nothing", 0, at("2024-01-01"), False, b"\x00")
KEY_TYPES = {
    "name": (DType.STRING, pa.string()),
    "number": (DType.INT64, pa.int64()),
    "since": (DType.TIMESTAMP, UTC_MICROS),
    "open": (DType.BOOL, pa.bool_()),
    "code": (DType.BYTES, pa.binary()),
}
THING = Entity(name="thing", join_keys={name: dtype for name, (dtype, _) in KEY_TYPES.items()})


def alike(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(type(a) is type(b) and a == b)


@pytest.fixture(params=["memory", "cassandra"])
def workshop(request: pytest.FixtureRequest, spark: "SparkSession", tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(spark, tmp_path)
    if request.param == "cassandra":
        node: CassandraNode = request.getfixturevalue("cassandra_node")
        made.online = CassandraStore(
            OnlineSettings(port=node.status().port, keyspace="dtypes", consistency="LOCAL_ONE")
        )
    yield made
    made.online.close()
    made.registry.close()


def test_every_value_of_every_dtype_comes_back_unchanged(workshop: Workshop, tmp_path: Path) -> None:
    keys = [*KEYS, ALL_NULL]
    table = {
        **{name: pa.array([k[n] for k in keys], kind) for n, (name, (_, kind)) in enumerate(KEY_TYPES.items())},
        "paid_at": pa.array([at(f"2024-01-01 10:00:00.00000{n}") for n in range(len(keys))], UTC_MICROS),
        **{name: pa.array([*values, None], kind) for name, _, kind, values in COLUMNS},
    }
    (tmp_path / "payments").mkdir()
    pq.write_table(pa.table(table), tmp_path / "payments" / "rows.parquet")
    view = make_view(
        name="thing", entities=[THING], sources=[payments_source(tmp_path / "payments")],
        features=[Feature(name, dtype) for name, dtype, _, _ in COLUMNS],
    )  # fmt: skip
    workshop.apply(view)
    assert workshop.build(view, "2024-01-01", "2024-01-02").rows == len(keys)
    assert workshop.build(view, "2024-01-01", "2024-01-02").status == "unchanged"
    assert workshop.load(view).rows == len(keys)
    client = OnlineClient(workshop.registry, workshop.online)
    rows = [dict(zip(KEY_TYPES, key, strict=True)) for key in keys]
    answer = client.get(features=["thing"], entity_rows=rows)
    for name, _, _, values in COLUMNS:
        for key, wanted, found in zip(keys, [*values, None], answer.to_dict()[name], strict=True):
            assert alike(found, wanted), (name, key, found if name != "text" else len(found))
    assert answer.statuses["text"] == ["PRESENT"] * len(KEYS) + ["NULL"]
    moments = [n for n in answer.event_timestamps["text"] if n is not None]
    assert moments == [at(f"2024-01-01 10:00:00.00000{n}") for n in range(len(keys))]
