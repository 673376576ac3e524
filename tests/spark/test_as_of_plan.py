"""How a join is planned: which engine, in how many ranges, and that none of it shows in the answer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from features import DType, Entity, Feature
from features.core.applied import AppliedView
from features.engine.as_of import AsOf, Pin, plan_join
from features.engine.as_of.ranges import cut
from features.engine.as_of.survey import survey_table
from features.engine.spine import read_spine
from features.errors import SpineError, UsageError
from tests.builders import UTC_MICROS, apply_view, make_view
from tests.logs import pin_log, put, write_log

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

BASE = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CARRIER = Entity(name="carrier", join_keys={"carrier": DType.STRING})
ROUTE = Entity(name="route", join_keys={"origin": DType.STRING, "dest": DType.STRING})


def view_of(name: str, entity: Entity, *features: Feature) -> AppliedView:
    return apply_view(make_view(name=name, entities=[entity], features=list(features)))


DELAY = view_of("delay", CARRIER, Feature("mean_delay", DType.FLOAT64), Feature("flights", DType.INT64))
FLEET = view_of("fleet", CARRIER, Feature("planes", DType.INT32))
DISTANCE = view_of("distance", ROUTE, Feature("miles", DType.FLOAT32), Feature("stops", DType.ARRAY(DType.STRING)))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warehouse")
    days = [BASE + timedelta(days=n) for n in range(3)]
    write_log(
        folder,
        DELAY,
        [
            [
                {**put(day, day + HOUR, seq=n + 1), "carrier": c, "mean_delay": n + 0.5, "flights": n}
                for c in ("AA", "UA")
            ]
            for n, day in enumerate(days)
        ],
    )
    write_log(folder, FLEET, [[{**put(days[0], days[0]), "carrier": "AA", "planes": 7}]])
    write_log(
        folder,
        DISTANCE,
        [[{**put(days[1], days[1]), "origin": "JFK", "dest": "LAX", "miles": 2475.0, "stops": ["ORD", "DEN"]}]],
    )
    return folder


SPINE = pa.table(
    {
        "odd name.x": ["kept", None, "kept", "kept"],
        "carrier": ["AA", "UA", None, "ZZ"],
        "origin": ["JFK", "JFK", "JFK", None],
        "dest": ["LAX", "SFO", "LAX", "LAX"],
        "event_timestamp": pa.array([BASE + timedelta(days=2, hours=h) for h in (0, 1, 2, 3)], UTC_MICROS),
        "n": [0, 1, 2, 3],
    }
)
KEYS = {"carrier": DType.STRING, "origin": DType.STRING, "dest": DType.STRING}
ANSWER = [
    {"mean_delay": 1.5, "flights": 1, "planes": 7, "miles": 2475.0, "stops": ["ORD", "DEN"]},
    {"mean_delay": 2.5, "flights": 2, "planes": None, "miles": None, "stops": None},
    {"mean_delay": None, "flights": None, "planes": None, "miles": 2475.0, "stops": ["ORD", "DEN"]},
    {"mean_delay": None, "flights": None, "planes": None, "miles": None, "stops": None},
]


def pins(spark: "SparkSession", warehouse: Path) -> list[Pin]:
    return [pin_log(spark, warehouse, view, position=10) for view in (DELAY, DISTANCE, FLEET)]


def spine_frame(spark: "SparkSession") -> Any:
    return spark.createDataFrame(SPINE)


@pytest.mark.parametrize("engine", ["native", "spark"])
def test_views_of_several_keys_are_joined_in_the_order_asked(
    spark: "SparkSession", warehouse: Path, engine: str
) -> None:
    spine = read_spine(spark, spine_frame(spark), keys=KEYS)
    plan = plan_join(spine, [AsOf(pin=pin) for pin in pins(spark, warehouse)], engine=engine)
    frame = plan.to_frame()
    assert frame.columns == [*SPINE.column_names, "mean_delay", "flights", "miles", "stops", "planes"]
    rows = sorted(frame.collect(), key=lambda row: row["n"])
    assert [row["odd name.x"] for row in rows] == SPINE["odd name.x"].to_pylist()
    assert [{name: row[name] for name in ANSWER[0]} for row in rows] == ANSWER


def test_views_of_one_key_share_a_pass(spark: "SparkSession", warehouse: Path) -> None:
    spine = read_spine(spark, spine_frame(spark), keys=KEYS)
    plan = plan_join(spine, [AsOf(pin=pin) for pin in pins(spark, warehouse)])
    told = "\n".join(plan.explain())
    assert "native, one pass by (carrier) for delay@1, fleet@1" in told
    assert "native, one pass by (origin, dest) for distance@1" in told
    assert "Delta version 2, log position 10, known_at=created" in told


def test_batches_reach_the_sink_inside_the_tasks(spark: "SparkSession", warehouse: Path) -> None:
    def count(batches: Any) -> Any:
        rows, names = 0, []
        for batch in batches:
            rows, names = rows + batch.num_rows, batch.schema.names
        yield pa.RecordBatch.from_pydict({"rows": [rows], "names": [names]})

    spine = read_spine(spark, spine_frame(spark), keys=KEYS)
    requests = [AsOf(pin=pin) for pin in pins(spark, warehouse)]
    for engine in ("native", "spark"):
        plan = plan_join(spine, requests, engine=engine)
        found = plan.to_tasks(count, "rows bigint, names array<string>").collect()
        assert sum(row["rows"] for row in found) == SPINE.num_rows
        assert [*SPINE.column_names, "mean_delay", "flights", "miles", "stops", "planes"] in [r["names"] for r in found]


def test_partitions_zones_and_adaptive_execution_change_no_value(spark: "SparkSession", warehouse: Path) -> None:
    changed = {"spark.sql.session.timeZone": "America/New_York", "spark.sql.adaptive.enabled": "false"}
    before = {name: spark.conf.get(name) for name in changed}
    try:
        for name, value in changed.items():
            spark.conf.set(name, value)
        spine = read_spine(spark, spine_frame(spark).repartition(7), keys=KEYS)
        plan = plan_join(spine, [AsOf(pin=pin) for pin in pins(spark, warehouse)])
        rows = sorted(plan.to_frame().toArrow().to_pylist(), key=lambda row: row["n"])
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)
    assert [{name: row[name] for name in ANSWER[0]} for row in rows] == ANSWER


def test_a_log_that_needs_more_than_its_files_is_joined_by_spark(
    spark: "SparkSession", warehouse: Path, tmp_path: Path
) -> None:
    rows = [{**put(BASE, BASE), "carrier": c, "planes": n} for n, c in enumerate(("AA", "UA"))]
    write_log(tmp_path, FLEET, [rows])
    path = tmp_path / FLEET.log_path
    spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = true)")
    spark.sql(f"DELETE FROM delta.`{path}` WHERE carrier = 'UA'")
    spine = read_spine(spark, spine_frame(spark), keys=KEYS)
    pin = pin_log(spark, tmp_path, FLEET, position=10)
    plan = plan_join(spine, [AsOf(pin=pin), *(AsOf(pin=p) for p in pins(spark, warehouse)[:1])])
    told = "\n".join(plan.explain())
    assert "joined by Spark, because the table uses deletion vectors" in told
    assert "native, one pass by (carrier) for delay@1:" in told
    rows = sorted(plan.to_frame().collect(), key=lambda row: row["n"])
    assert [(row["planes"], row["flights"]) for row in rows] == [(0, 1), (None, 2), (None, None), (None, None)]
    assert {view.engine for view in plan.estimate().views} == {"spark", "native"}
    with pytest.raises(UsageError, match='fleet@1: the table uses deletion vectors; pass engine="auto" or "spark"'):
        plan_join(spine, [AsOf(pin=pin)], engine="native")


def test_an_unknown_engine_is_refused(spark: "SparkSession", warehouse: Path) -> None:
    spine = read_spine(spark, spine_frame(spark), keys=KEYS)
    with pytest.raises(UsageError, match="engine must be one of auto, native, spark, got 'polars'"):
        plan_join(spine, [], engine="polars")


def test_the_estimate_counts_what_the_spine_can_see(spark: "SparkSession", warehouse: Path) -> None:
    early = SPINE.filter(pa.array([True, False, False, False])).set_column(
        4, "event_timestamp", pa.array([BASE + timedelta(days=1, hours=2)], UTC_MICROS)
    )
    spine = read_spine(spark, early, keys=KEYS)
    (delay, distance) = plan_join(spine, [AsOf(pin=pin) for pin in pins(spark, warehouse)[:2]]).estimate().views
    assert (delay.view, delay.files, delay.rows, delay.partitions) == ("delay@1", 2, 4, 1)
    assert (distance.files, distance.rows) == (1, 1)
    assert delay.bytes > 0


def test_a_view_without_a_commit_answers_null(spark: "SparkSession", tmp_path: Path) -> None:
    spine = read_spine(spark, spine_frame(spark), keys=KEYS)
    plan = plan_join(spine, [AsOf(pin=pin_log(spark, tmp_path, DISTANCE), status="found")])
    assert [tuple(row)[-3:] for row in plan.to_frame().collect()] == [(None, None, 0)] * SPINE.num_rows
    assert "no commit yet" in "\n".join(plan.explain())


def test_null_times_are_counted_and_refused(spark: "SparkSession") -> None:
    times = pa.array([BASE, None, None, BASE], UTC_MICROS)
    spine = spark.createDataFrame(SPINE.set_column(4, "event_timestamp", times))
    with pytest.raises(SpineError, match="2 rows whose event_timestamp is null"):
        read_spine(spark, spine, keys=KEYS)


def test_a_spine_that_fails_when_it_is_computed_is_told(spark: "SparkSession") -> None:
    boom = F.raise_error(F.lit("boom")).cast("string")
    spine = spine_frame(spark).withColumn("carrier", boom)
    with pytest.raises(SpineError, match="entity_df cannot be read"):
        read_spine(spark, spine, keys=KEYS)


def test_a_hot_key_is_cut_by_time_and_no_range_is_empty() -> None:
    times = [BASE + timedelta(seconds=n) for n in range(16_000)]
    table = pa.table({"carrier": ["AA"] * 16_000, "event_timestamp": pa.array(times, UTC_MICROS)})
    survey = survey_table(table, ["carrier"])
    assert (survey.rows, survey.null_times) == (16_000, 0)
    cuts = cut(survey, ["carrier"], cores=2, row_bytes=1 << 18)
    assert cuts.tasks == 4
    assert [start[0] for start in cuts.starts] == ["AA"] * 3
    seconds = [start[1] / 1e6 - BASE.timestamp() for start in cuts.starts]
    assert [round(second / 4000) for second in seconds] == [1, 2, 3]


def test_a_spine_of_one_point_is_one_range() -> None:
    table = pa.table({"carrier": ["AA"] * 9_000, "event_timestamp": pa.array([BASE] * 9_000, UTC_MICROS)})
    assert cut(survey_table(table, ["carrier"]), ["carrier"], cores=2, row_bytes=1 << 20).tasks == 2
