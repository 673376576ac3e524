"""Loads: what is online is a function of (key, log position), whatever was loaded before."""

from datetime import timedelta
from pathlib import Path

import pytest

from features.errors import OnlineStoreError
from tests.builders import Workshop, at, make_view, payments_source, write_payments

pytestmark = pytest.mark.spark

DAY1, DAY2, DAY3, DAY4 = "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"
FEBRUARY = at("2024-02-01")
PAYMENTS = [("a", f"{DAY1} 10:00", 1.0), ("b", f"{DAY1} 11:00", 5.0), ("a", f"{DAY2} 09:00", 2.0)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "payments"
    write_payments(path, PAYMENTS)
    return path


def test_a_load_takes_only_the_keys_that_were_touched_since_the_last(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (2, [(1.0,), (5.0,)])
    workshop.build(view, DAY2, DAY3)
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (1, [(2.0,), (5.0,)])
    assert workshop.load(view).rows == 0
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 2


def test_an_older_interval_built_later_never_overwrites_a_newer_value(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY2, DAY3)
    workshop.load(view)
    workshop.build(view, DAY1, DAY2)
    workshop.load(view)
    assert workshop.served(view, ("a",), ("b",)) == [(2.0,), (5.0,)]


def test_a_retraction_brings_back_the_row_before_it_and_then_none(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    workshop.load(view)
    write_payments(source, PAYMENTS[:2])
    workshop.build(view, DAY2, DAY3, now=FEBRUARY)
    assert (workshop.load(view).rows, workshop.served(view, ("a",))) == (1, [(1.0,)])
    write_payments(source, PAYMENTS[1:2])
    workshop.build(view, DAY1, DAY2, now=FEBRUARY)
    result = workshop.load(view)
    assert (result.rows, result.deleted, workshop.served(view, ("a",), ("b",))) == (0, 1, [None, (5.0,)])


def test_a_full_load_writes_every_winner_and_deletes_what_the_log_lacks(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    stray = workshop.spark.createDataFrame(
        [("stray", at(DAY1), at(DAY1), 9.0, False, None)],
        "customer string, event_timestamp timestamp, created_timestamp timestamp, amount double, "
        "_delete boolean, _ttl_seconds int",
    )
    workshop.online.create(applied)
    workshop.online.write(applied, stray, position=1)
    result = workshop.load(view, full=True)
    assert (result.rows, result.deleted) == (2, 1)
    assert workshop.served(view, ("a",), ("b",), ("stray",)) == [(1.0,), (5.0,), None]


def test_a_load_before_the_first_build_makes_the_table_and_writes_nothing(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    result = workshop.load(view)
    assert (result.rows, result.delta_version) == (0, None)
    assert workshop.served(view, ("a",)) == [None]


def test_a_row_past_its_retention_is_deleted_not_written(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)], lookback=timedelta(days=1), retention=timedelta(days=2))
    workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    result = workshop.load(view)
    assert (result.rows, result.deleted) == (0, 2)


def test_a_log_that_ends_before_the_checkpoint_is_another_log(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    workshop.load(view)
    workshop.registry.move_checkpoint(applied, target=workshop.online.target, position=7)
    with pytest.raises(OnlineStoreError, match=r"loaded up to position 7, but the log .* ends at 1"):
        workshop.load(view)


def test_a_row_that_someone_else_wrote_over_keeps_the_checkpoint_where_it_was(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    applied = workshop.apply(view)
    workshop.build(view, DAY1, DAY2)
    foreign = workshop.spark.createDataFrame(
        [("a", at(DAY1), at(DAY1), 9.0, False, None)],
        "customer string, event_timestamp timestamp, created_timestamp timestamp, amount double, "
        "_delete boolean, _ttl_seconds int",
    )
    workshop.online.create(applied)
    workshop.online.write(applied, foreign, position=99)
    with pytest.raises(OnlineStoreError, match="holds another row of customer='a'"):
        workshop.load(view)
    assert workshop.registry.checkpoint(applied, target=workshop.online.target) == 0


def test_a_table_that_was_dropped_is_filled_again(workshop: Workshop, source: Path) -> None:
    view = make_view(sources=[payments_source(source)])
    workshop.apply(view)
    workshop.build(view, DAY1, DAY3)
    workshop.load(view)
    workshop.online._tables.clear()
    workshop.online._columns.clear()
    assert (workshop.load(view).rows, workshop.served(view, ("a",), ("b",))) == (2, [(2.0,), (5.0,)])
