"""The views package as a whole: it fits together, and serving apps without Spark can import it."""

import subprocess
import sys

from features.core.discovery import discover

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "airflow", "cassandra", "great_expectations", "pandas", "numpy"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Block())
from features.core.discovery import discover
print(*sorted(discover("features.views").views))
"""


def test_definitions_agree_with_each_other() -> None:
    found = discover("features.views")
    # Not all there are: adding a view takes two files, and this is neither.
    assert {"carrier_delay", "origin_delay", "plane", "route_delay", "weather"} <= set(found.views)
    assert "delay_model" in found.services


def test_views_import_where_there_is_no_spark() -> None:
    result = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == sorted(discover("features.views").views)


def test_no_two_features_share_a_name_so_that_any_of_them_can_be_asked_together() -> None:
    names = [feature.name for view in discover("features.views").views.values() for feature in view.features]
    assert len(names) == len(set(names))
