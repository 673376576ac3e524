"""The as-of join against the oracle: Hypothesis draws many logs and spines into one frame, and Spark joins once."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features import DType, Entity, Feature
from features.core.applied import Selection
from features.engine.as_of import AsOf, plan_join
from features.engine.spine import read_spine
from features.engine.winners import winners
from tests.builders import apply_view, make_view
from tests.logs import pin_log, put, write_log
from tests.oracle import Row, as_of, online, status_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

LOOKBACK = 3
BASE = datetime(2024, 1, 1, tzinfo=UTC)
PAIR = Entity(name="pair", join_keys={"left": DType.STRING, "right": DType.STRING})
VIEW = apply_view(
    make_view(entities=[PAIR], features=[Feature("amount", DType.FLOAT64)], lookback=timedelta(microseconds=LOOKBACK))
)
SELECTION = Selection(view=VIEW, features=tuple(VIEW.features), columns=("amount",))
LOG_SCHEMA = (
    "case int, left string, right string, event_timestamp timestamp, created_timestamp timestamp, "
    "_op string, _seq bigint, _interval timestamp, amount double"
)
SPINE_SCHEMA = "n int, left string, right string, event_timestamp timestamp"

# ("a", "bc") and ("ab", "c") are one text when joined without a delimiter.
KEYS = [("a", "bc"), ("ab", "c"), ("a", "c")]
# One frame holds many cases: shrinking it would start Spark hundreds of times, and show no less.
spark_settings = settings(
    max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)
moments = st.integers(0, 8)


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """Rows as runs would append them: positions ascend, retractions take back rows that were put."""
    rows: list[Row] = []
    for seq in range(1, draw(st.integers(0, 9)) + 1):
        puts = [r for r in rows if r.is_put]
        if puts and draw(st.booleans()):
            old = draw(st.sampled_from(puts))
            is_put = draw(st.booleans())
            created = old.created + draw(st.integers(0, 3))
            value = draw(st.one_of(st.none(), st.floats(-3, 3))) if is_put else None
            rows.append(Row(old.key, old.event, created, old.interval, seq, is_put, value))
        else:
            event, late = draw(moments), draw(st.integers(0, 4))
            value = draw(st.one_of(st.none(), st.floats(-3, 3)))
            rows.append(
                Row(draw(st.sampled_from(KEYS)), event, event + late, event + draw(st.integers(0, 2)), seq, True, value)
            )
    return rows


spines = st.lists(
    st.tuples(st.one_of(st.sampled_from(KEYS), st.sampled_from([("zz", "z"), (None, "c"), (None, None)])), moments),
    max_size=8,
)


def instant(moment: int) -> datetime:
    return BASE + timedelta(microseconds=moment)


def keyed(key: tuple[str | None, str | None], case: int) -> tuple[str | None, str | None]:
    """Each case has keys of its own, so that one frame holds many cases."""
    left, right = key
    return (None if left is None else f"{case}-{left}", right)


@st.composite
def files_of(draw: st.DrawFn, count: int) -> list[int]:
    """Which file each of `count` rows lies in."""
    return draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))


@pytest.mark.parametrize("engine", ["native", "spark"])
@pytest.mark.parametrize("known_at", ["created", "event"])
@spark_settings
@given(data=st.data(), cases=st.lists(st.tuples(logs(), spines), min_size=60, max_size=60))
def test_the_join_gives_what_the_rule_says(
    spark: "SparkSession",
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,
    known_at: str,
    data: st.DataObject,
    cases: list[tuple[list[Row], list[tuple[tuple[str, str], int]]]],
) -> None:
    position = data.draw(st.integers(4, 9))
    log_rows, spine_rows, wanted, statuses = [], [], [], []
    for case, (log, spine) in enumerate(cases):
        for r in log:
            left, right = keyed(r.key, case)
            times = put(instant(r.event), instant(r.created), seq=r.seq, interval=instant(r.interval))
            row = {**times, "left": left, "right": right, "amount": r.value}
            log_rows.append(row if r.is_put else {**row, "_op": "retract", "amount": None})
        visible = [r for r in log if r.seq <= position]
        for key, t in spine:
            value = as_of(visible, key, t, lookback=LOOKBACK, known_at=known_at)
            wanted.append(value)
            statuses.append(status_of(visible, key, t, lookback=LOOKBACK, known_at=known_at))
            spine_rows.append((len(spine_rows), *keyed(key, case), instant(t)))
    numbers = data.draw(files_of(len(log_rows)))
    files = [[row for row, number in zip(log_rows, numbers, strict=True) if number == n] for n in range(4)]
    if data.draw(st.booleans()):
        files = [sorted(rows, key=lambda row: (row["left"], row["right"], row["event_timestamp"])) for rows in files]
    warehouse = tmp_path_factory.mktemp("warehouse")
    write_log(warehouse, VIEW, files, rows_per_group=data.draw(st.sampled_from([3, 16, 1 << 20])))
    pin = pin_log(spark, warehouse, VIEW, position=position)
    spine_frame = spark.createDataFrame(spine_rows, SPINE_SCHEMA).repartition(2)
    spine = read_spine(spark, spine_frame, keys=VIEW.join_keys)
    for status in (None, "found"):
        plan = plan_join(spine, [AsOf(pin=pin, known_at=known_at, status=status)], engine=engine)
        found = sorted(plan.to_frame().collect(), key=lambda row: row["n"])
        assert [row["n"] for row in found] == list(range(len(spine_rows)))
        assert [row["amount"] for row in found] == wanted
    assert [row["found"] for row in found] == statuses


@spark_settings
@given(cases=st.lists(logs(), min_size=80, max_size=80))
def test_the_online_row_is_the_winner_once_all_is_visible(spark: "SparkSession", cases: list[list[Row]]) -> None:
    log_rows, wanted = [], {}
    for case, log in enumerate(cases):
        for r in log:
            op = "put" if r.is_put else "retract"
            times = (instant(r.event), instant(r.created))
            log_rows.append((case, *keyed(r.key, case), *times, op, r.seq, instant(r.interval), r.value))
            wanted[keyed(r.key, case)] = online(log, r.key)
    frame = winners(spark.createDataFrame(log_rows, LOG_SCHEMA).drop("case"), VIEW)
    found = {(r["left"], r["right"]): r for r in frame.collect()}
    assert set(found) == set(wanted)
    for key, row in wanted.items():
        assert found[key]["_found"] == (row is not None)
        if row is not None:
            assert (found[key]["event_timestamp"].replace(tzinfo=UTC), found[key]["amount"]) == (
                instant(row.event),
                row.value,
            )
