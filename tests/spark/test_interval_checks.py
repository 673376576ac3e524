"""Checks that look back and a team's own suite, in builds: what is compared, kept and told."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from features import Check, DType, Expect, Feature, FunctionSource
from features.core.discovery import Definitions
from features.errors import DefinitionError, RefusedError
from features.functions import F
from features.materialization.suites import with_checked_suites
from features.registry import LedgerEntry
from tests.builders import Workshop, at, make_view, passes_on, payments_source, write_payments
from tests.spark.test_build import forget_last_commit, tree

pytestmark = pytest.mark.spark

DAYS = [f"2024-01-{day:02d}" for day in range(1, 9)]
CHECKS = [
    Check.row_count(min_ratio=0.5, max_ratio=2, over=3, min_intervals=2),
    Check.null_share("amount", max_increase=0.2, over=3, min_intervals=2),
    Check.mean("amount", max_change=0.5, over=3, min_intervals=2),
    Check.freshness("payments", max_age=timedelta(hours=12)),
]


def payments(counts: list[int], **values: float | None) -> list[tuple[str, str, float | None]]:
    """So many payments each day, hour by hour from 10:00 on, of 1.0 or what a day is said to hold."""
    return [
        (f"c{number}", f"{day} {10 + number}:00", values.get(f"day{place}", 1.0))
        for place, (day, count) in enumerate(zip(DAYS, counts, strict=False))
        for number in range(count)
    ]


def told(workshop: Workshop, *, failing: bool = True) -> list[tuple[str, str, str]]:
    """What the runs of the view said of its checks, oldest first: the rule's name, its interval, its detail."""
    registry = workshop.registry
    runs = reversed(registry.runs(registry.view("last_payment"), limit=100))
    results = [result for run in runs for result in registry.validations(run.run_id)]
    return [
        (result["rule"].partition("(")[0], result["interval_end"][:10], result["detail"])
        for result in results
        if result["detail"] and bool(result["failing"]) is failing
    ]


def ledger(workshop: Workshop) -> tuple[LedgerEntry, ...]:
    return workshop.registry.ledger(workshop.registry.view("last_payment"))


def forget_everything(workshop: Workshop, folder: Path) -> Workshop:
    folder.mkdir()
    return Workshop(workshop.spark, folder)


def test_a_range_at_once_is_judged_as_its_days_one_by_one(workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "payments"
    # The fourth day has few rows, the fifth other values, the sixth nothing but nulls, and the last none at all.
    write_payments(path, payments([4, 4, 4, 1, 4, 4, 0], day4=9.0, day5=None))
    view = make_view(sources=[payments_source(path)], checks=CHECKS)
    workshop.apply(view)
    workshop.build(view, DAYS[0], DAYS[7])
    together = told(workshop)
    apart = forget_everything(workshop, tmp_path / "apart")
    apart.apply(view)
    statuses = [apart.build(view, start, end).status for start, end in pairwise(DAYS)]
    assert statuses == ["built"] * 6 + ["empty"]
    assert sorted(told(apart)) == sorted(together)
    assert [(rule, end) for rule, end, _ in sorted(together)] == [
        ("freshness", "2024-01-05"),
        ("freshness", "2024-01-08"),
        ("mean", "2024-01-06"),
        ("null_share", "2024-01-07"),
        ("row_count", "2024-01-05"),
        ("row_count", "2024-01-08"),
    ]
    view_applied = workshop.registry.view("last_payment")
    kept = [w.registry.profiles(view_applied, before=at(DAYS[7]), limit=99) for w in (workshop, apart)]
    assert kept[0] == kept[1]
    assert [profile.rows for profile in kept[0]] == [4, 4, 4, 1, 4, 4, 0]
    apart.registry.close()


def test_a_source_may_be_older_than_what_the_run_reads(workshop: Workshop, tmp_path: Path) -> None:
    write_payments(tmp_path / "payments", payments([1]))
    checks = [
        Check.freshness("payments", max_age=timedelta(hours=38)),
        Check.freshness("payments", max_age=timedelta(3)),
    ]
    workshop.apply(view := make_view(sources=[payments_source(tmp_path / "payments")], checks=checks))
    workshop.build(view, DAYS[0], DAYS[3])
    assert told(workshop) == [("freshness", "2024-01-04", "no row of the 1 day, 14:00:00 before the interval's end")]
    workshop.build(view, DAYS[2], DAYS[3])
    assert told(workshop)[1:] == told(workshop)[:1]
    assert told(workshop, failing=False)[-1][2].startswith("newest row of 2024-01-01T10:00:00+00:00, 2 days, 14:00:00")


def test_a_refused_interval_is_not_published_nor_compared_with_and_a_rerun_replaces_its_figures(
    workshop: Workshop, tmp_path: Path
) -> None:
    path = tmp_path / "payments"
    write_payments(path, payments([4, 4, 40 // 10, 1]))
    check = Check.row_count(min_ratio=0.5, over=2, min_intervals=2, severity="refuse")
    view = make_view(sources=[payments_source(path)], checks=[check])
    applied = workshop.apply(view)
    workshop.build(view, DAYS[0], DAYS[3])
    assert told(workshop, failing=False)[-1][2] == (
        "2 of 3 intervals not judged: 1 intervals before it, 2 are required"
    )
    before = tree(workshop.warehouse)
    with pytest.raises(RefusedError, match=r"\*: row_count\(min_ratio=0.5, over=2\) \(refuse\): 1 rows; the median"):
        workshop.build(view, DAYS[3], DAYS[4])
    assert tree(workshop.warehouse) == before
    assert [entry.status for entry in ledger(workshop)] == ["built", "built", "built", "refused"]
    assert len(workshop.registry.profiles(applied, before=at(DAYS[7]), limit=99)) == 3
    write_payments(path, payments([4, 4, 3, 3]))
    workshop.build(view, DAYS[2], DAYS[4])
    profiles = workshop.registry.profiles(applied, before=at(DAYS[7]), limit=99)
    assert [profile.rows for profile in profiles] == [4, 4, 3, 3]
    assert [p.rows for p in workshop.registry.profiles(applied, before=at(DAYS[2]), limit=1)] == [4]


def test_an_interval_that_lost_its_rows_can_be_refused(workshop: Workshop, tmp_path: Path) -> None:
    write_payments(tmp_path / "payments", payments([4, 4, 0]))
    check = Check.row_count(min_ratio=0.1, min_intervals=2, severity="refuse")
    workshop.apply(view := make_view(sources=[payments_source(tmp_path / "payments")], checks=[check]))
    workshop.build(view, DAYS[0], DAYS[2])
    with pytest.raises(RefusedError, match="0 rows; the median of 2 intervals before is 4"):
        workshop.build(view, DAYS[2], DAYS[3])


def doubled(payments: Any) -> Any:
    """Each payment twice: once again under another customer."""
    once = passes_on(payments)
    return once.union(once.withColumn("customer", F.concat("customer", F.lit("'"))))


def test_a_transform_that_returns_twice_the_rows_is_refused_where_rows_are_compared(
    workshop: Workshop, tmp_path: Path
) -> None:
    write_payments(tmp_path / "payments", payments([2, 3, 2]))
    source = payments_source(tmp_path / "payments")
    check = Check.row_count(max_ratio=1.5, min_intervals=2, severity="refuse")
    workshop.apply(view := make_view(sources=[source], checks=[check]))
    workshop.build(view, DAYS[0], DAYS[2])
    before = tree(workshop.warehouse)
    with pytest.raises(
        RefusedError, match=r"row_count\(max_ratio=1.5, over=7\) \(refuse\): 4 rows; .* is 2.5, ratio 1.6"
    ):
        # The same version: what changed is a table that the transform joins with, say.
        workshop.build(replace(view, transform=doubled), DAYS[2], DAYS[3])
    assert tree(workshop.warehouse) == before


def test_a_kill_right_after_a_commit_loses_no_figures(workshop: Workshop, tmp_path: Path) -> None:
    write_payments(tmp_path / "payments", payments([4, 3]))
    applied = workshop.apply(view := make_view(sources=[payments_source(tmp_path / "payments")], checks=CHECKS))
    workshop.build(view, DAYS[0], DAYS[2])
    kept = workshop.registry.profiles(applied, before=at(DAYS[7]), limit=9)
    assert [(p.rows, p.nulls, p.means) for p in kept] == [
        (4, {"amount": 0}, {"amount": 1.0}),
        (3, {"amount": 0}, {"amount": 1.0}),
    ]
    forget_last_commit(workshop)
    assert workshop.registry.profiles(applied, before=at(DAYS[7]), limit=9) == ()
    workshop.build(view, DAYS[5], DAYS[6])
    assert workshop.registry.profiles(applied, before=at(DAYS[2]), limit=9) == kept


def test_nothing_stays_cached_after_a_build_or_a_refusal(workshop: Workshop, tmp_path: Path) -> None:
    write_payments(tmp_path / "payments", payments([3, 3]))
    strict = [Feature("amount", DType.FLOAT64, expect=[Expect.between(2, 3)])]
    source = payments_source(tmp_path / "payments")
    view, refused = (
        make_view(sources=[source], checks=CHECKS),
        make_view(name="strict", sources=[source], features=strict),
    )
    workshop.apply(view)
    workshop.apply(refused)
    cached = workshop.spark.sparkContext._jsc.getPersistentRDDs().size()
    workshop.build(view, DAYS[0], DAYS[1])
    with pytest.raises(RefusedError):
        workshop.build(refused, DAYS[0], DAYS[1])
    assert workshop.spark.sparkContext._jsc.getPersistentRDDs().size() == cached


def test_the_mean_of_an_interval_does_not_depend_on_the_order_of_its_rows(workshop: Workshop) -> None:
    from pyspark.sql import functions as F

    from features.quality.profiling import profile_intervals
    from tests.builders import apply_view

    view = apply_view(make_view(checks=[Check.mean("amount", max_change=1)]))
    values = [0.1 * n * (-1) ** n for n in range(999)] + [float("nan"), float("inf"), None, 1e9 + 0.1]
    rows = workshop.spark.createDataFrame([(v, at(DAYS[1])) for v in values], "amount double, _interval timestamp")
    shuffled = [rows.repartition(n, F.xxhash64("amount", F.lit(n))).orderBy(F.rand(n)) for n in (1, 3, 7)]
    found = {str(profile_intervals(frame, view)) for frame in (rows, *shuffled)}
    assert len(found) == 1
    numbers = [v for v in values if v is not None and abs(v) < 1e10]
    (profile,) = profile_intervals(rows, view).values()
    assert profile.means["amount"] == pytest.approx(sum(numbers) / len(numbers), rel=1e-8)
    assert profile.rows == len(values)


def suite_file(path: Path, *expectations: dict[str, Any]) -> str:
    path.write_text(json.dumps({"name": "payments", "expectations": expectations}))
    return str(path)


def of(kind: str, severity: str | None = None, **kwargs: Any) -> dict[str, Any]:
    told = {} if severity is None else {"severity": severity}
    return {"type": f"expect_{kind}", "kwargs": kwargs, **told}


def test_a_suite_is_judged_in_each_interval_by_itself(workshop: Workshop, tmp_path: Path) -> None:
    write_payments(tmp_path / "payments", payments([2, 4], day1=7.0))
    suite = suite_file(
        tmp_path / "suite.json",
        of("table_row_count_to_be_between", "info", max_value=3),
        of("column_mean_to_be_between", "warning", column="amount", max_value=5),
        of("column_values_to_be_unique", column="customer"),
        of("table_columns_to_match_set", column_set=["customer", "event_timestamp", "amount"]),
        of("column_values_to_be_between", column="amount", min_value=1, mostly=0.9),
        of("column_values_to_be_of_type", column="amount", type_="DoubleType"),
    )
    view = make_view(sources=[payments_source(tmp_path / "payments")], suite=suite)
    workshop.apply(view)
    assert workshop.build(view, DAYS[0], DAYS[2]).rows == 6
    assert sorted(told(workshop)) == [
        ("expect_column_mean_to_be_between", "2024-01-03", "amount mean must be less than or equal to 5.0."),
        ("expect_table_row_count_to_be_between", "2024-01-03", "Must have less than or equal to 3 rows."),
    ]
    assert len(told(workshop, failing=False)) == 4


def test_a_suite_refuses_what_it_calls_critical_and_judges_by_what_was_applied(
    workshop: Workshop, tmp_path: Path
) -> None:
    write_payments(tmp_path / "payments", payments([2]))
    rule = of("column_values_to_be_between", column="amount", min_value=2)
    suite = suite_file(tmp_path / "suite.json", rule)
    view = make_view(sources=[payments_source(tmp_path / "payments")], suite=suite)
    workshop.apply(view)
    suite_file(tmp_path / "suite.json", {**rule, "severity": "warning"})
    with pytest.raises(
        RefusedError, match=r"amount: expect_column_values_to_be_between\(min_value=2.*\(refuse\): amount values must"
    ):
        workshop.build(view, DAYS[0], DAYS[1])
    assert not Path(workshop.warehouse).exists()
    workshop.apply(view)
    assert workshop.build(view, DAYS[0], DAYS[1]).rows == 2


def where(condition: Any, parser: str | None = None) -> dict[str, Any]:
    """What amounts are expected to be, in rows that meet a condition."""
    kwargs: dict[str, Any] = {"column": "amount", "min_value": 2, "row_condition": condition}
    return of("column_values_to_be_between", **kwargs, **({} if parser is None else {"condition_parser": parser}))


IS_NULL = {"type": "nullity", "column": {"name": "custmer"}, "is_null": True}


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        (of("colum_values_to_be_null", column="amount"), r"expect_colum_values_to_be_null\) is not valid: .*not found"),
        (of("column_values_to_be_between", column="amount"), "min_value and max_value cannot both be None"),
        (of("column_values_to_be_in_set", column="amount", value_sets=[1]), "value_sets"),
        (of("column_values_to_not_be_null", column="amuont"), "no column 'amuont'; did you mean 'amount'"),
        (of("column_mean_to_be_between", column="amount", min_value={"$PARAMETER": "low"}), "takes a suite parameter"),
        (of("column_values_to_match_like_pattern", column="amount", like_pattern="a%"), "cannot be judged on Spark"),
        (
            {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT 1"}},
            "brings rows to the",
        ),
        *(
            (where(condition), "row_condition: no column 'custmer'; did you mean 'customer'")
            for condition in (
                IS_NULL,
                {"type": "or", "conditions": [{**IS_NULL, "column": {"name": "amount"}}, IS_NULL]},
            )
        ),
    ],
)
def test_an_expectation_that_no_run_could_judge_is_told_by_plan(
    tmp_path: Path, expectation: dict[str, Any], message: str
) -> None:
    view = make_view(suite=suite_file(tmp_path / "suite.json", of("column_to_exist", column="amount"), expectation))
    definitions = Definitions(views={view.name: view}, services={})
    with pytest.raises(DefinitionError, match=rf"(?s)FeatureView 'last_payment': suite .*expectation 2 .*{message}"):
        with_checked_suites(definitions)


def test_an_expectation_that_fails_to_judge_publishes_nothing(workshop: Workshop, tmp_path: Path) -> None:
    write_payments(tmp_path / "payments", payments([2]))
    suite = suite_file(tmp_path / "suite.json", of("column_values_to_match_regex", column="customer", regex="("))
    workshop.apply(view := make_view(sources=[payments_source(tmp_path / "payments")], suite=suite))
    with pytest.raises(DefinitionError, match=r"expectation 1 .*could not be judged: .*nothing was published"):
        workshop.build(view, DAYS[0], DAYS[1])
    assert not Path(workshop.warehouse).exists()


def test_a_row_condition_chooses_rows_and_one_that_plan_cannot_read_is_told_by_the_run(
    workshop: Workshop, tmp_path: Path
) -> None:
    write_payments(tmp_path / "payments", [("a", f"{DAYS[0]} 10:00", 1.0), ("b", f"{DAYS[0]} 10:00", 3.0)])
    of_b = {"type": "comparison", "column": {"name": "customer"}, "operator": "==", "parameter": "b"}
    fine = [where(of_b), where("Customer = 'b'", "spark"), where('col("customer") != "a"', "great_expectations"),
            where("lower(customer) = 'b' -- or c", "spark")]  # fmt: skip
    view = make_view(sources=[payments_source(tmp_path / "payments")], suite=suite_file(tmp_path / "suite.json", *fine))
    with_checked_suites(Definitions(views={view.name: view}, services={}))
    workshop.apply(view)
    assert workshop.build(view, DAYS[0], DAYS[1]).rows == 2
    assert told(workshop) == []

    suite_file(tmp_path / "suite.json", where("lower(custmer) = 'b'", "spark"))
    workshop.apply(view)
    with pytest.raises(DefinitionError, match=r"expectation 1 .*could not be judged: .*custmer.*nothing was published"):
        workshop.build(view, DAYS[0], DAYS[1])


def test_a_function_source_whose_newest_row_is_too_old_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    newest = [f"{DAYS[0]} 20:00"]

    def read_api(spark: Any, start: Any, end: Any) -> Any:
        rows = [(f"c{place}", at(when), 1.0) for place, when in enumerate(newest)]
        return spark.createDataFrame(rows, "customer string, paid_at timestamp, amount double")

    source = FunctionSource(name="payments", read=read_api, timestamp_field="paid_at")
    check = Check.freshness("payments", max_age=timedelta(hours=6), severity="refuse")
    workshop.apply(view := make_view(sources=[source], checks=[check]))
    assert workshop.build(view, DAYS[0], DAYS[1]).rows == 1
    # Known at noon, and nothing later: at the next day's end that is twelve hours old.
    newest.append(f"{DAYS[1]} 12:00")
    before = tree(workshop.warehouse)
    with pytest.raises(RefusedError, match=r"payments: freshness\(max_age=6:00:00\) \(refuse\): no row of the 6:00:00"):
        workshop.build(view, DAYS[1], DAYS[2])
    assert tree(workshop.warehouse) == before
    # A row of the end itself is the next interval's.
    newest.append(DAYS[2])
    with pytest.raises(RefusedError, match="freshness"):
        workshop.build(view, DAYS[1], DAYS[2])
    newest.append(f"{DAYS[1]} 18:00")
    assert workshop.build(view, DAYS[1], DAYS[2]).rows == 2
