"""Sources of every kind: what an interval gets of them, and what is refused before anything is written."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import BatchSource, DType, FunctionSource, JdbcSource
from features.config import ConnectionSettings
from features.core.sources import TimedSource
from features.core.times import from_micros
from features.engine.source import read_source
from features.errors import FeatureStoreError, SourceError, TimeError, TransformError
from features.functions import F
from features.materialization.view_test import try_view
from tests.builders import UTC_MICROS, Workshop, at, make_view, passes_on, payments_source, write_payments

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

DAYS = [f"2024-01-0{day}" for day in range(1, 8)]
DAY1, DAY2, DAY3, DAY4 = DAYS[:4]
SCHEMA = {"customer": DType.STRING, "paid_at": DType.TIMESTAMP, "amount": DType.FLOAT64}


def read(spark: "SparkSession", source: TimedSource, start: str, end: str) -> list[tuple[Any, ...]]:
    """What an interval gets: customer, paid_at and amount, the time as ISO text."""
    rows = read_source(spark, source, at(start), at(end))
    table = rows.select("customer", F.date_format("paid_at", "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"), "amount")
    return sorted(tuple(row) for row in table.collect())


def files_read(frame: "DataFrame") -> int:
    """How many files Spark opened for a frame."""
    frame.collect()
    plan = frame._jdf.queryExecution().executedPlan()
    text = [plan]
    while text:
        node = text.pop()
        metrics = node.metrics()
        if metrics.contains("numFiles"):
            return int(metrics.apply("numFiles").value())
        inner = node.executedPlan() if node.nodeName() == "AdaptiveSparkPlan" else None
        children = [inner] if inner is not None else [node.children().apply(i) for i in range(node.children().size())]
        text.extend(children)
    return 0


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_naive_times_are_of_the_declared_zone_on_the_nights_when_clocks_change(
    spark: "SparkSession", tmp_path: Path, kind: str
) -> None:
    # An hour that is skipped counts on from before it; of one that comes twice the first is taken.
    written = ["2024-03-31 01:59:59.999999", "2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-10-27 03:00:00"]
    wanted = ["2024-03-31T00:59:59.999999", "2024-03-31T01:30:00.000000", "2024-10-27T00:30:00.000000",
              "2024-10-27T02:00:00.000000"]  # fmt: skip
    rows = [{"customer": str(i), "paid_at": when, "amount": 1.5} for i, when in enumerate(written)]
    path = tmp_path / f"payments.{kind}"
    if kind == "csv":
        path.write_text("customer,paid_at,amount\n" + "".join(f"{r['customer']},{r['paid_at']},1.5\n" for r in rows))
    elif kind == "json":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        naive = pa.array([datetime.fromisoformat(when) for when in written], pa.timestamp("us"))
        pq.write_table(pa.table({"customer": list("0123"), "paid_at": naive, "amount": [1.5] * 4}), path)
    source = payments_source(path, format=kind, timezone="Europe/Berlin", schema=SCHEMA)
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        frame = read_source(spark, source, at("2024-01-01"), at("2025-01-01"))
        found = {r[0]: r[1] for r in frame.select("customer", F.unix_micros("paid_at")).collect()}
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
    shown = [from_micros(found[k]).replace(tzinfo=None).isoformat(timespec="microseconds") for k in "0123"]
    assert shown == wanted
    with pytest.raises(TimeError, match="naive"):
        read_source(spark, replace(source, timezone=None), at("2024-01-01"), at("2025-01-01"))


def test_csv_is_read_with_its_options_and_declared_types(spark: "SparkSession", tmp_path: Path) -> None:
    folder = tmp_path / "payments"
    folder.mkdir()
    (folder / "a.csv").write_text("007;2024-01-01T10:00:00Z;1,5;2024-01-01T12:00:00+02:00\n")
    (folder / "b.csv").write_text("")
    schema = {"customer": DType.STRING, "paid_at": DType.TIMESTAMP, "amount": DType.STRING, "seen": DType.TIMESTAMP}
    source = payments_source(folder, format="csv", options={"sep": ";", "header": "false"}, schema=schema)
    frame = read_source(spark, source, at(DAY1), at(DAY2))
    assert dict(frame.dtypes) == {
        "customer": "string", "paid_at": "timestamp", "amount": "string", "seen": "timestamp",
        "available_timestamp": "timestamp",
    }  # fmt: skip
    row = frame.select("customer", "amount", F.unix_micros("seen") - F.unix_micros("paid_at")).first()
    assert tuple(row) == ("007", "1,5", 0)


def test_text_of_another_encoding_is_refused_until_it_is_named(spark: "SparkSession", tmp_path: Path) -> None:
    (folder := tmp_path / "payments").mkdir()
    lines = "customer,paid_at,amount\né,2024-01-01T10:00:00Z,1.5\nè,2024-01-01T11:00:00Z,2.5\n"
    (folder / "a.csv").write_bytes(lines.encode("latin-1"))
    source = BatchSource(name="payments", path=str(folder), format="csv", timestamp_field="paid_at", schema=SCHEMA)
    with pytest.raises(SourceError, match="2 values of 'customer' hold bytes that are not UTF-8, such as '\ufffd'"):
        read_source(spark, source, at("2024-01-01"), at("2024-01-02"))
    named = replace(source, options={"encoding": "ISO-8859-1"})
    rows = read_source(spark, named, at("2024-01-01"), at("2024-01-02")).collect()
    assert sorted(row["customer"] for row in rows) == ["è", "é"]


@pytest.mark.parametrize(
    ("name", "text", "changes", "error", "message"),
    [
        ("a.csv", "customer,paid_at,amount\na,2024-01-01T10:00:00Z,1.5\nb,2024-01-01T11:00:00Z,x1\n",
         {"schema": SCHEMA}, SourceError, "1 records do not fit its columns, such as 'b,2024-01-01T11:00:00Z,x1'"),
        ("a.csv", "customer,paid_at,amount\na,2024-01-01T10:00:00Z\nb\n", {}, SourceError, "2 records do not fit"),
        ("a.csv", "amount,paid_at,customer\n1.5,2024-01-01T10:00:00Z,a\n", {"schema": SCHEMA}, SourceError,
         "header differs from schema="),
        ("a.json", '{"customer": "a", "paid_at": "2024-01-01T10:00:00Z", "amount": "much"}\n{"customer": \n',
         {"schema": SCHEMA}, SourceError, "2 records do not fit"),
        ("a.json", '{"customer": "a", "paid_at": "2024-01-01T10:00:00Z"}\n{"customer": "b"\n', {}, SourceError,
         "1 records do not fit"),
        ("a.csv", "customer,paid_at,amount\na,soon,1.5\n", {}, TimeError, "naive"),
        ("a.csv", "customer,paid_at,amount\na,2024-13-01T10:00:00Z,1.5\n", {}, SourceError, "which is no time"),
        ("a.csv", "customer,paid_at,amount\na,,1.5\n", {}, TimeError, "1 rows have a null 'paid_at'"),
        ("a.csv", "", {}, SourceError, "no column 'paid_at'"),
        ("a.parquet", "", {}, SourceError, "cannot be read"),
        (None, "", {"format": "csv"}, SourceError, "holds no data; land some, or declare schema="),
        (None, "", {"format": "parquet"}, SourceError, "holds no data; land some, or declare schema="),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_counts(
    spark: "SparkSession", tmp_path: Path, name: str | None, text: str, changes: dict[str, Any],
    error: type[FeatureStoreError], message: str,
) -> None:  # fmt: skip
    folder = tmp_path / "payments"
    folder.mkdir()
    if name is not None:
        (folder / name).write_text(text)
    kind = (name or ".").rpartition(".")[2]
    with pytest.raises(error, match=message):
        read_source(spark, payments_source(folder, **{"format": kind, **changes}), at(DAY1), at(DAY2))


def test_a_declared_schema_holds_for_parquet_too(spark: "SparkSession", tmp_path: Path) -> None:
    write_payments(tmp_path / "payments", [("a", f"{DAY1} 10:00", 1.0)])
    source = payments_source(tmp_path / "payments", schema={"paid_at": DType.TIMESTAMP, "customer": DType.STRING})
    assert read_source(spark, source, at(DAY1), at(DAY2)).columns == ["paid_at", "customer", "available_timestamp"]
    for schema, message in (
        ({**SCHEMA, "shop": DType.STRING}, "no column 'shop'.*its schema declares it"),
        ({**SCHEMA, "amount": DType.INT64}, "column 'amount' is double, but its schema declares int64"),
    ):
        with pytest.raises(SourceError, match=message):
            read_source(spark, replace(source, schema=schema), at(DAY1), at(DAY2))


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_only_the_files_of_the_days_that_a_run_needs_are_opened(
    spark: "SparkSession", tmp_path: Path, kind: str
) -> None:
    path = str(tmp_path / "payments")
    # A day each; the row that arrived on the 5th is of the 2nd.
    rows = [("a", day if place != 4 else DAY2, day, float(place)) for place, day in enumerate(DAYS)]
    frame = spark.createDataFrame(rows, "customer string, paid string, seen string, amount double").selectExpr(
        "customer", "to_timestamp(paid) AS paid_at", "to_timestamp(seen) AS seen_at", "amount", "to_date(seen) AS day"
    )
    frame.write.format(kind).partitionBy("day").save(path)
    source = payments_source(path, format=kind, partition_field="day")
    late = replace(source, created_timestamp_field="seen_at")

    def opened(given: BatchSource, start: str, end: str) -> int:
        return files_read(read_source(spark, given, at(start), at(end)))

    assert opened(source, DAY3, DAY4) == 1
    assert opened(replace(source, history=timedelta(days=1)), DAY3, DAY4) == 2
    assert opened(late, DAY3, DAY4) == 1
    # From the late row's event on.
    assert opened(late, DAYS[4], DAYS[5]) == 4
    # A row without a created time is dropped wherever it lies, here in the folder of the 5th.
    dropping = replace(late, null_timestamp="drop")
    unseen = frame.where(frame.amount == 4).withColumn("seen_at", F.lit(None).cast("timestamp"))
    unseen.write.format(kind).mode("append").partitionBy("day").save(path)
    assert len(read(spark, dropping, DAYS[4], DAYS[5])) == 4
    # Without its created time that row is of the 2nd, whose runs do not look into the folder of the 5th.
    with pytest.raises(
        SourceError, match=r"2 rows .* another UTC day than 'day' says \(2024-01-05 has rows of 2024-01-02"
    ):
        read(spark, source, DAYS[4], DAYS[5])


def test_folders_by_a_day_of_local_time_are_refused(spark: "SparkSession", tmp_path: Path) -> None:
    zone = "Europe/Berlin"
    source = payments_source(tmp_path / "payments", format="csv", timezone=zone, partition_field="day", schema=SCHEMA)
    # The last microsecond of a UTC day far ahead, and the first one of the next.
    for day, paid_at in [("2024-07-01", "01:59:59.999999"), ("2024-07-02", "02:00"), ("9998-07-02", "01:59:59.999999")]:
        folder = tmp_path / f"payments/day={day}"
        folder.mkdir(parents=True)
        (folder / "payments.csv").write_text(f"customer,paid_at,amount\na,{day} {paid_at},1.0\n")
    assert len(read(spark, source, "2024-07-02", "2024-07-03")) == 1
    for start, end in [("2024-07-01", "2024-07-02"), ("9998-07-02", "9998-07-03")]:
        with pytest.raises(SourceError, match=r"has rows of \d+-(06-30|07-01)\), and runs of that day would miss them"):
            read(spark, source, start, end)


@pytest.fixture(scope="module")
def customers(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Delta table of customers, changed in place: made on the 1st, then a commit on the 2nd, 4th and 5th at noon."""
    path = str(tmp_path_factory.mktemp("delta") / "customers")
    spark.sql(
        f"CREATE TABLE delta.`{path}` (customer STRING, paid_at TIMESTAMP, amount DOUBLE) USING DELTA TBLPROPERTIES "
        "(delta.enableChangeDataFeed = true, delta.deletedFileRetentionDuration = 'interval 10000 days', "
        "delta.logRetentionDuration = 'interval 10000 days')"
    )
    for statement in (
        f"INSERT INTO delta.`{path}` VALUES ('a', TIMESTAMP'2023-06-01', 1), ('b', TIMESTAMP'2023-06-01', 1)",
        f"UPDATE delta.`{path}` SET amount = 2 WHERE customer = 'a'",
        f"DELETE FROM delta.`{path}` WHERE customer = 'b'",
    ):
        spark.sql(statement)
    for version, when in enumerate([f"{DAY1} 06:00", f"{DAY2} 12:00", f"{DAY4} 00:00", f"{DAYS[4]} 12:00"]):
        set_commit_time(path, version, when)
    return path


def set_commit_time(path: str, version: int, when: str) -> None:
    """When Delta says that a version was committed."""
    seconds = at(when).timestamp()
    os.utime(Path(path) / "_delta_log" / f"{version:020}.json", (seconds, seconds))


def with_rates(payments: Any, customers: Any) -> Any:
    """Every payment times what its customer's amount was when the interval ended."""
    rates = customers.select("customer", F.col("amount").alias("rate"))
    joined = payments.join(rates, "customer", "left").withColumn("amount", F.col("amount") * F.col("rate"))
    return joined.withColumnRenamed("paid_at", "event_timestamp")


def test_a_table_is_read_as_it_was_at_each_intervals_end(workshop: Workshop, tmp_path: Path, customers: str) -> None:
    payments = [(key, f"{day} 10:00", 10.0) for day in DAYS[1:6] for key in "ab"]
    write_payments(tmp_path / "payments", payments)
    rates = BatchSource(name="customers", path=customers, format="delta", timestamp_field="paid_at", time_travel=True)
    calls = []

    def counted(payments: Any, customers: Any) -> Any:
        calls.append(1)
        return with_rates(payments, customers)

    sources = [payments_source(tmp_path / "payments", history=timedelta(days=1)), rates]
    together = make_view(name="together", sources=sources, transform=with_rates)
    apart = make_view(name="apart", sources=sources, transform=with_rates)
    workshop.apply(together)
    workshop.apply(apart)
    workshop.build(replace(together, transform=counted), DAY2, DAYS[6])
    for start, end in pairwise(DAYS[1:]):
        workshop.build(apart, start, end)

    def told(name: str) -> list[tuple[Any, ...]]:
        return [(row[0], row[1], row[2], row[-1]) for row in workshop.rows(workshop.views[name])]

    # A commit at midnight is of the day that begins then.
    assert [(row[0], row[1][:10], row[-1]) for row in told("together")] == [
        *(("a", day, rate) for day, rate in zip(DAYS[1:6], [10.0, 10.0, 20.0, 20.0, 20.0], strict=True)),
        *(("b", day, rate) for day, rate in zip(DAYS[1:6], [10.0, 10.0, 10.0, None, None], strict=True)),
    ]
    assert told("apart") == told("together")
    # Once for each state of the table.
    assert len(calls) == 3
    with pytest.raises(SourceError, match=r"as of 2024-01-01T06:00:00\+00:00 the table did not exist"):
        read_source(workshop.spark, rates, at(f"{DAY1} 00:00"), at(f"{DAY1} 06:00"))


def test_a_state_that_the_table_no_longer_has_is_told(spark: "SparkSession", tmp_path: Path, customers: str) -> None:
    import shutil

    path = str(tmp_path / "customers")
    shutil.copytree(customers, path, copy_function=shutil.copy2)
    spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES (delta.deletedFileRetentionDuration = 'interval 1 week')")
    snapshot = payments_source(path, format="delta", time_travel=True)
    with pytest.raises(SourceError, match=r"version 1 can no longer be read: .*lengthen delta.logRetentionDuration"):
        read_source(spark, snapshot, at(DAY2), at(DAY3))


def test_a_change_feed_gives_what_an_intervals_commits_brought(spark: "SparkSession", customers: str) -> None:
    source = payments_source(customers, format="delta", change_feed=True, deletes="deliver")
    frame = read_source(spark, source, at(DAY1), at(DAYS[6]))
    rows = frame.select("customer", "amount", "_change_type", F.date_format("available_timestamp", "dd HH:mm"))
    assert sorted(map(tuple, rows.collect())) == [
        ("a", 1.0, "insert", "02 12:00"),
        ("a", 2.0, "update_postimage", "04 00:00"),
        ("b", 1.0, "delete", "05 12:00"),
        ("b", 1.0, "insert", "02 12:00"),
    ]
    dropped = replace(source, deletes="drop")
    assert [len(read(spark, dropped, *days)) for days in pairwise([DAY1, DAY2, DAY3, DAY4, *DAYS[4:]])] == [
        0, 2, 0, 1, 0, 0
    ]  # fmt: skip
    refusing = replace(source, deletes="refuse")
    assert read(spark, refusing, DAY4, DAYS[4]) == [("a", "2023-06-01T00:00:00.000000", 2.0)]
    with pytest.raises(SourceError, match=r"1 rows were deleted in the commits that are read; say what that means"):
        read_source(spark, refusing, at(DAYS[4]), at(DAYS[5]))


def test_a_feed_that_is_off_or_cut_is_told(spark: "SparkSession", tmp_path: Path, customers: str) -> None:
    import shutil

    path = str(tmp_path / "plain")
    spark.sql("SELECT 'a' AS customer, current_timestamp() AS paid_at, 1.0D AS amount").write.format("delta").save(path)
    source = payments_source(path, format="delta", change_feed=True)
    with pytest.raises(SourceError, match=r"change data feed was off.*delta.enableChangeDataFeed"):
        read_source(spark, source, at(DAY1), at("2999-01-01"))
    cut = str(tmp_path / "cut")
    shutil.copytree(customers, cut, copy_function=shutil.copy2)
    # As Delta leaves it behind a checkpoint whose earlier commits are past their retention.
    from delta import DeltaTable

    DeltaTable.forPath(spark, cut)._jdt.deltaLog().checkpoint()
    for version in (0, 1, 2):
        (Path(cut) / "_delta_log" / f"{version:020}.json").unlink()
    with pytest.raises(SourceError, match=r"its log begins at version 3, of 2024-01-05T12:00:00\+00:00"):
        read_source(spark, replace(source, path=cut), at(DAY2), at(DAY3))


def test_other_databases_are_read_as_a_whole_and_chosen_from_here(spark: "SparkSession", tmp_path: Path) -> None:
    spark._jvm.java.lang.System.setProperty("derby.stream.error.file", str(tmp_path / "derby.log"))
    url, driver = "jdbc:derby:memory:shop;create=true", "org.apache.derby.iapi.jdbc.AutoloadedDriver"
    rows = spark.sql(
        "SELECT id AS number, timestamp_ntz'2024-07-01' + make_dt_interval(0, id) AS paid_at FROM range(48)"
    )
    rows.write.format("jdbc").options(url=url, driver=driver, dbtable="payments").save()
    source = JdbcSource(name="payments", connection="shop", table="payments", timestamp_field="paid_at",
                        timezone="Europe/Berlin", partition_column="number", num_partitions=2)  # fmt: skip
    shop = {"shop": ConnectionSettings(url=url, driver=driver)}
    frame = read_source(spark, source, at("2024-07-01"), at("2024-07-02"), connections=shop)
    assert sorted(row["number"] for row in frame.select("number").collect()) == list(range(2, 26))


def from_table(spark: Any, start: datetime, end: datetime) -> Any:
    """A payment for each bound."""
    assert start.tzinfo is UTC
    rows = [("a", start, 1.0), ("a", end, 2.0)]
    return spark.createDataFrame(rows, "customer string, paid_at timestamp, amount double")


def of_each_day(spark: Any, start: datetime, end: datetime) -> Any:
    """A payment on each day, whatever is asked for."""
    rows = [("a", at(f"{day} 10:00"), 1.0) for day in DAYS]
    return spark.createDataFrame(rows, "customer string, paid_at timestamp, amount double")


def test_a_function_is_a_source(workshop: Workshop, tmp_path: Path) -> None:
    source = FunctionSource(name="payments", read=from_table, timestamp_field="paid_at", history=timedelta(days=1))
    view = make_view(sources=[source], transform=passes_on)
    workshop.apply(view)
    assert workshop.build(view, DAY2, DAY3).rows == 0
    whole = make_view(sources=[replace(source, history=timedelta(0))])
    workshop.apply(whole)
    assert workshop.build(whole, DAY2, DAY3).rows == 1
    # The registry keeps no code.
    with pytest.raises(SourceError, match="a registry keeps no code"):
        read_source(workshop.spark, workshop.registry.view(view.name).sources[0], at(DAY2), at(DAY3))
    with pytest.raises(FeatureStoreError, match="give --start and --end"):
        try_view(whole, spark=workshop.spark, folder=tmp_path / "trial")
    steady = make_view(sources=[replace(source, read=of_each_day)], transform=passes_on)
    assert try_view(steady, spark=workshop.spark, folder=tmp_path / "other", span=(at(DAY2), at(DAY4))).compared


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda spark, start, end: None, r"source 'payments': .* returned NoneType; return a DataFrame"),
        (lambda spark, start, end: 1 / 0, r"source 'payments': .* failed: ZeroDivisionError: division by zero"),
        (lambda spark, start: None, r"failed: TypeError"),
        (lambda spark, start, end: spark.range(3).selectExpr("id AS amount"), "no column 'paid_at'"),
        (lambda spark, start, end: spark.range(3).selectExpr("id AS paid_at"), "column 'paid_at' is bigint"),
        (lambda spark, start, end: spark.range(3).selectExpr("1 / (id - 1) AS paid_at"), r"failed: .*DIVIDE_BY_ZERO"),
    ],
)
def test_what_a_function_returns_is_judged(spark: "SparkSession", function: Callable[..., Any], message: str) -> None:
    source = FunctionSource(name="payments", read=function, timestamp_field="paid_at")
    with pytest.raises(SourceError, match=message):
        read_source(spark, source, at(DAY1), at(DAY2))


def write_table(path: Path, **columns: pa.Array) -> None:
    """One payment on each of the first three days, with these columns beside its keys and times."""
    path.mkdir(parents=True, exist_ok=True)
    times = pa.array([at(f"{day} 10:00") for day in DAYS[:3]], UTC_MICROS)
    pq.write_table(pa.table({"customer": ["a"] * 3, "paid_at": times, **columns}), path / "payments.parquet")


def test_changed_columns_are_caught_before_anything_is_written(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "payments"
    amounts, shops = pa.array([1.0, 2.0, 3.0]), pa.array(["x", "y", "z"])
    write_table(path, amount=amounts, shop=shops)
    view = make_view(sources=[payments_source(path)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)

    write_table(path, amount=amounts)
    with pytest.raises(
        SourceError, match=r"column 'shop' \(string\) is gone; nothing was written.*features sources ac"
    ):
        workshop.build(view, DAY2, DAY3)
    write_table(path, amount=amounts, shop=pa.array([1, 2, 3]))
    with pytest.raises(SourceError, match="column 'shop' was string and is bigint"):
        workshop.build(view, DAY2, DAY3)
    (run,) = workshop.registry.runs(applied, limit=1)
    assert (run.status, len(workshop.rows(view))) == ("failed", 1)
    # The first interval was built from other columns too.
    with pytest.raises(SourceError, match="column 'shop' was string"):
        workshop.build(view, DAY1, DAY2)

    assert set(workshop.registry.accept_source_schemas(applied)) == {"payments"}
    workshop.build(view, DAY2, DAY3)
    write_table(path, amount=amounts, shop=pa.array([1, 2, 3]), city=shops)
    workshop.build(view, DAY3, DAY4)
    (run,) = workshop.registry.runs(applied, limit=1)
    assert (run.status, run.message) == ("built", "source 'payments' has new columns: 'city' (string)")
    last = [schema.columns for schema in workshop.registry.source_schemas(applied) if schema.columns][-1]
    assert last == {
        "customer": "string", "paid_at": "timestamp", "amount": "double", "shop": "bigint", "city": "string"
    }  # fmt: skip


def test_columns_are_those_of_the_files_that_an_interval_reads(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "payments"

    def land(day: str, **columns: pa.Array) -> None:
        (path / f"day={day}").mkdir(parents=True, exist_ok=True)
        times = pa.array([at(f"{day} 10:00")], UTC_MICROS)
        pq.write_table(pa.table({"customer": ["a"], "paid_at": times, **columns}), path / f"day={day}" / "a.parquet")

    amount, city = pa.array([1.0]), pa.array(["x"])
    land(DAY1, amount=amount)
    land(DAY2, amount=amount, city=city)
    land(DAY3, city=city)
    seen = []

    def transform(payments: Any) -> Any:
        seen.append(payments.columns)
        return payments.withColumnRenamed("paid_at", "event_timestamp")

    code = make_view(sources=[payments_source(path, partition_field="day")])
    applied, view = workshop.apply(code), replace(code, transform=transform)
    for start, end in ((DAY1, DAY2), (DAY2, DAY3)):
        workshop.build(view, start, end)
    (run,) = workshop.registry.runs(applied, limit=1)
    assert run.message == "source 'payments' has new columns: 'city' (string)"
    assert "city" in seen[1]
    # Spark itself would take the first day's columns for those of all, and amounts of the third for null.
    with pytest.raises(SourceError, match=r"column 'amount' \(double\) is gone"):
        workshop.build(view, DAY3, DAY4)
    # What was built before the column came may be built again.
    assert workshop.build(view, DAY1, DAY2).status == "unchanged"
    land(DAY3, amount=amount, city=pa.array([1]))
    with pytest.raises(SourceError, match="column 'city' was string and is bigint"):
        workshop.build(view, DAY3, DAY4)
    land(DAY3, amount=amount, city=city)
    workshop.build(view, DAY3, DAY4)
    assert not any(schema.found for schema in workshop.registry.source_schemas(applied))


def test_files_that_vanish_while_they_are_read_are_told(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "payments"
    write_payments(path, [("a", f"{DAY1} 10:00", 1.0)])
    folder = str(path)

    def removes(payments: Any) -> Any:
        for file in os.listdir(folder):
            os.unlink(os.path.join(folder, file))
        return payments.withColumnRenamed("paid_at", "event_timestamp")

    view = make_view(sources=[payments_source(path)], transform=removes)
    workshop.apply(view)
    with pytest.raises(SourceError, match="cannot be read") as error:
        workshop.build(view, DAY1, DAY2)
    assert not isinstance(error.value, TransformError)
