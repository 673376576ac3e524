"""What `import features` costs: a serving app and a DAG file pay it."""

import os
import subprocess
import sys

import features
from features.core import definitions

VENDORS = {
    "airflow", "cassandra", "croniter", "great_expectations", "numpy", "pandas", "pyarrow", "pydantic", "pyspark",
    "sqlalchemy", "yaml",
}  # fmt: skip
SCRIPT = """
import sys, time
began = time.process_time()
import features
print(time.process_time() - began, *{name.partition(".")[0] for name in sys.modules})
"""


def import_features() -> tuple[float, set[str]]:
    """Seconds of processor time, and the packages that are loaded afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, *loaded = done.stdout.split()
    return float(seconds), set(loaded)


def test_importing_the_vocabulary_is_quick_and_loads_no_vendor() -> None:
    # Processor time, and the best of three: other work on the machine does not count.
    runs = [import_features() for _ in range(3)]

    assert runs[0][1] & VENDORS == set()
    assert "features" in runs[0][1]
    assert min(seconds for seconds, _ in runs) < 0.3


def test_the_vocabulary_is_every_definition_and_what_they_are_made_of() -> None:
    on_demand = {"GoldenRow", "OnDemandFeatureView", "RequestSource", "on_demand"}
    assert set(features.__all__) == {*definitions.DEFINITIONS, *on_demand, "Check", "DType", "Expect"}
    assert all(hasattr(features, name) for name in features.__all__)
    assert features.__all__ == sorted(features.__all__)
