import subprocess
import sys

from features.config import OnlineSettings
from features.stores.memory import MemoryStore
from features.stores.opening import online_target, open_online_store


def test_memory_is_opened_where_settings_say_so():
    store = open_online_store(OnlineSettings(type="memory"))

    assert isinstance(store, MemoryStore)
    assert open_online_store(OnlineSettings(type="memory")) is not store


def test_opening_cassandra_does_not_connect():
    store = open_online_store(OnlineSettings(hosts=("192.0.2.1",), timeout_seconds=1))

    store.close()


def test_the_target_of_cassandra_names_hosts_port_and_keyspace_in_one_order():
    first = OnlineSettings(hosts=("b", "a"), port=9999, keyspace="fraud")

    assert online_target(first) == "cassandra://a,b:9999/fraud"
    assert online_target(OnlineSettings(hosts=("a", "b"), port=9999, keyspace="fraud")) == online_target(first)


def test_the_target_of_memory_is_another_one_in_another_process():
    here = online_target(OnlineSettings(type="memory"))
    code = (
        "from features.config import OnlineSettings; from features.stores.opening import online_target; "
        "print(online_target(OnlineSettings(type='memory')))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert here.startswith("memory://")
    assert there.startswith("memory://")
    assert here != there
