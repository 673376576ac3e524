"""Which path a load takes, as far as no cluster has to be asked."""

from typing import Any, cast

import pytest

from features.config import LoadSettings, OnlineSettings
from features.errors import PlatformError
from features.stores.base import LoadSize
from features.stores.sstables.routes import BulkTools, decide

NOBODY = cast("Any", None)


def no_java() -> Any:
    raise PlatformError("no Java: JAVA_HOME is not set")


def settings(**load: Any) -> OnlineSettings:
    return OnlineSettings(load=LoadSettings(**load))


def path(size: int, tools: BulkTools | None = None, *, wanted: str | None = None, **load: Any) -> tuple[str, str]:
    found = decide(settings(**load), LoadSize(rows=size, bytes=0), tools, NOBODY, wanted=wanted).path
    return found.name, found.reason


def test_few_keys_go_by_cql_and_say_so() -> None:
    assert path(99, sstable_rows=100) == ("cql", "at most 99 keys, fewer than online.load.sstable_rows = 100")


def test_what_is_asked_for_wins_over_size_and_setting() -> None:
    assert path(10**9, path="cql") == ("cql", "it was asked for")
    assert path(10**9, wanted="cql", path="sstable") == ("cql", "it was asked for")


def test_many_keys_go_by_cql_where_sstables_cannot_be_written_and_the_reason_is_told() -> None:
    tools = BulkTools(find_java=no_java, jmx_ports=dict)
    assert path(10**9, tools) == ("cql", "SSTables cannot be handed over: no Java: JAVA_HOME is not set")
    assert path(10**9)[1].startswith("SSTables cannot be handed over: this store was opened for reading")


def test_sstables_that_were_asked_for_and_cannot_be_written_are_refused() -> None:
    with pytest.raises(PlatformError, match="no Java"):
        path(1, BulkTools(find_java=no_java, jmx_ports=dict), wanted="sstable")
