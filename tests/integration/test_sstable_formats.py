"""SSTables on a node that writes another format than the loader, as one does that was upgraded to Cassandra 5."""

from collections.abc import Iterator

import pytest

from features.config import LoadSettings, OnlineSettings
from features.embedded.cassandra import CassandraNode
from features.stores.cassandra import CassandraStore
from features.stores.sstables.routes import ImportRoute
from tests.applied_views import applied_view
from tests.integration.test_sstable_loads import amounts, write

pytestmark = pytest.mark.integration

# The defaults of cassandra.yaml in 5.0.
UPGRADED = {
    "storage_compatibility_mode": "CASSANDRA_4",
    "sstable": {"selected_format": "big"},
    "disk_access_mode": "mmap_index_only",
}


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraNode]:
    node = CassandraNode(state_dir=tmp_path_factory.mktemp("upgraded"), port=0, heap_mb=512, options=UPGRADED)
    node.start()
    yield node
    node.stop()


def test_a_node_that_writes_another_format_takes_a_load_and_keeps_it(node, tmp_path):
    view = applied_view("upgraded")
    rows = [{"customer": f"k{at}", "amount": float(at), "visits": at} for at in range(500)]

    for position, expected in ((1, 500), (2, 500)):
        status = node.status()
        settings = OnlineSettings(
            port=status.port,
            keyspace="formats",
            consistency="LOCAL_ONE",
            load=LoadSettings(directory=str(tmp_path), heap_mb=256),
        )
        store = CassandraStore(settings)
        store.create(view)
        route = ImportRoute(host="127.0.0.1", port=status.jmx_port)
        for row in rows:
            row["amount"] += 1
        assert write(view, rows, settings, route, position=position, path="sstable") == (expected, 0)
        assert amounts(store, view, "k0", "k499", "k500") == [float(position), 499.0 + position, None]
        assert "bti" in {path.name.split("-")[2] for path in status.state_dir.rglob("formats/*/*-Data.db")}
        store.close()
        node.stop()
        node.start()

    store = CassandraStore(settings.model_copy(update={"port": node.status().port}))
    assert amounts(store, view, "k0", "k499") == [2.0, 501.0]
    store.close()
