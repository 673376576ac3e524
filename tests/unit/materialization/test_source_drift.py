"""Which changes of a source's columns stop a build, and which intervals they are judged by."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from features.core.discovery import Definitions
from features.errors import SourceError
from features.materialization.source_drift import SourceWatch
from features.registry import Registry
from tests.builders import at, make_view, payments_source

DAY2, DAY5, DAY9 = at("2024-01-02"), at("2024-01-05"), at("2024-01-09")
COLUMNS = {"customer": "string", "amount": "int"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as opened:
        yield opened


@pytest.fixture
def watch(registry: Registry):
    registry.apply(Definitions(views={"last_payment": make_view()}, services={}))
    view = registry.view("last_payment")
    return lambda since, until=None: SourceWatch(registry, view, "run", since=since, until=until or since)


SOURCE = payments_source()


def test_a_first_build_takes_what_is_there_once_it_has_succeeded(watch) -> None:
    watch(DAY2).check(SOURCE, COLUMNS)
    watch(DAY2).check(SOURCE, {"customer": "string"})
    first = watch(DAY2)
    first.check(SOURCE, COLUMNS)
    first.record()

    with pytest.raises(SourceError, match=r"column 'amount' \(int\) is gone"):
        watch(DAY5).check(SOURCE, {"customer": "string"})


@pytest.mark.parametrize("kind", ["string", "bigint", "double", "smallint"])
def test_another_type_is_refused_even_a_wider_one(watch, kind: str) -> None:
    first = watch(DAY2)
    first.check(SOURCE, COLUMNS)
    first.record()

    with pytest.raises(SourceError, match=f"column 'amount' was int and is {kind}; nothing was written"):
        watch(DAY5).check(SOURCE, {**COLUMNS, "amount": kind})


def test_a_new_column_is_noticed_and_then_expected(watch) -> None:
    for since, columns in ((DAY2, COLUMNS), (DAY5, {"shop": "string", **COLUMNS})):
        build = watch(since)
        build.check(SOURCE, columns)
        build.record()
        assert build.notice == ("" if since == DAY2 else "source 'payments' has new columns: 'shop' (string)")

    again = watch(DAY9)
    with pytest.raises(SourceError, match="'shop'"):
        again.check(SOURCE, COLUMNS)
    # What was built before the column came is judged by what was there then.
    watch(DAY2).check(SOURCE, COLUMNS)


def test_intervals_before_all_that_were_built_are_judged_by_the_first(watch) -> None:
    build = watch(DAY5)
    build.check(SOURCE, COLUMNS)
    build.record()

    with pytest.raises(SourceError, match="'amount'"):
        watch(DAY2).check(SOURCE, {"customer": "string"})


def test_a_range_of_files_that_differ_is_judged_interval_by_interval_later(watch) -> None:
    build = watch(DAY2, DAY9)
    build.check(SOURCE, COLUMNS)
    build.check(SOURCE, {**COLUMNS, "shop": "string"})
    build.record()

    watch(DAY2).check(SOURCE, COLUMNS)
    watch(DAY5).check(SOURCE, COLUMNS)
    with pytest.raises(SourceError, match="'shop'"):
        watch(DAY9).check(SOURCE, COLUMNS)


def test_guessed_types_come_with_the_advice_to_declare_them(watch) -> None:
    guessed = payments_source(format="csv")
    build = watch(DAY2)
    build.check(guessed, COLUMNS)
    build.record()

    with pytest.raises(SourceError, match="types of csv are guessed from all files, unless schema= declares them"):
        watch(DAY5).check(guessed, {**COLUMNS, "amount": "double"})
