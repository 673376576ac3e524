"""Builds whose registry goes away for a while: nothing is half told, and the next run sets it right."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from features.errors import RegistryError
from features.registry import Registry
from features.stores.delta import FeatureLog
from tests.builders import Workshop, make_view, passes_on, payments_source, write_payments
from tests.postgresql import run_postgresql
from tests.severed import Line

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.integration]

PAYMENTS = [("a", "2024-01-01 10:00", 1.0), ("b", "2024-01-02 11:00", 2.0)]


@pytest.fixture
def line() -> Iterator[tuple[Line, str]]:
    """The way to a PostgreSQL, and its URL by that way."""
    with run_postgresql() as url, Line(f"{url.query['host']}/.s.PGSQL.5432") as line:
        reached = url.set(host="127.0.0.1", port=line.port, query={})
        yield line, reached.render_as_string(hide_password=False)


def test_a_build_that_loses_its_registry_is_run_again_and_is_told_once(
    spark: "SparkSession", line: tuple[Line, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way, url = line
    write_payments(tmp_path / "source", PAYMENTS)
    workshop = Workshop(spark, tmp_path)
    workshop.registry.close()
    workshop.registry = Registry.open(url)
    cuts: list[Callable[[], None]] = []

    def reads(payments: Any) -> Any:
        if cuts:
            cuts.pop()()
        return passes_on(payments)

    view = make_view(sources=[payments_source(tmp_path / "source")], transform=reads)
    workshop.apply(view)

    # While the source is read: nothing is published.
    cuts.append(way.cut)
    with pytest.raises(RegistryError, match="cannot be reached"):
        workshop.build(view, "2024-01-01", "2024-01-02")
    way.mend()
    assert workshop.log(view).snapshot() is None

    # Behind the commit: readers have the rows, and the registry knows nothing of them.
    append = FeatureLog.append

    def is_cut_off_behind(*given: Any, **named: Any) -> Any:
        commit = append(*given, **named)
        way.cut()
        return commit

    with monkeypatch.context() as patched:
        patched.setattr(FeatureLog, "append", is_cut_off_behind)
        with pytest.raises(RegistryError, match="cannot be reached"):
            workshop.build(view, "2024-01-01", "2024-01-02")
    way.mend()
    applied = workshop.registry.view(view.name)
    assert not any(entry.built for entry in workshop.registry.ledger(applied))

    assert workshop.build(view, "2024-01-01", "2024-01-02").status == "unchanged"
    assert workshop.build(view, "2024-01-02", "2024-01-03").status == "built"
    told = [(e.status, e.rows, e.position, e.delta_version) for e in workshop.registry.ledger(applied)]
    assert told == [("built", 1, 1, 0), ("built", 1, 2, 1)]
    assert [(c.position, c.delta_version) for c in workshop.registry.commits(applied)] == [(1, 0), (2, 1)]
    assert len(workshop.rows(view)) == 2
    workshop.registry.close()
