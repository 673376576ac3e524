"""Saves of training sets in a process of their own, which tests can kill: `python -m tests.killed_saves VERB ...`."""

import json
import sys
from pathlib import Path

import pyarrow as pa

from tests.builders import UTC_MICROS, at
from tests.training_desk import CONF, open_desk, read

ROWS = 600_000
# While its file says how, the first worker that holds a part file open fails, once.
FRAGILE = """
    import os, signal
    from pathlib import Path
    ORDER = Path({order!r})
    NUMBERED = RequestSource(name="numbered", schema={{"number": DType.INT64}})
    @on_demand(inputs=["last:amount", NUMBERED], returns=[Feature("sum", DType.FLOAT64)], mode="arrow")
    def fragile(batch):
        opened = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()]
        if ORDER.exists() and any("/data/part-" in file for file in opened):
            order = ORDER.read_text()
            ORDER.unlink()
            if order == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("the first attempt fails")
        return pa.table({{"sum": pc.add(batch["amount"], pc.cast(batch["number"], "double"))}})
"""
# Where its environment says so, a task that has opened its part file goes no further while another file is there.
PATIENT = """
    import os, time
    from pathlib import Path
    @on_demand(inputs=["last:amount"], returns=[Feature("half", DType.FLOAT64)], mode="arrow")
    def patient(batch):
        hold = os.environ.get("HOLD_SAVES")
        opened = [os.path.realpath(file) for file in Path("/proc/self/fd").iterdir()] if hold else []
        while any("/data/part-" in file for file in opened) and Path(hold).exists():
            time.sleep(0.02)
        return pa.table({{"half": pc.divide(batch["amount"], 2.0)}})
"""
PATIENT_FEATURES = ["last:amount", "patient"]


def numbered_spine() -> pa.Table:
    """As many rows as make several tasks, each of more than one row group: three customers in turn, and a number."""
    return pa.table(
        {
            "customer": [("a", "b", "zz")[number % 3] for number in range(ROWS)],
            "event_timestamp": pa.array([at("2024-01-06")] * ROWS, UTC_MICROS),
            "number": pa.array(range(ROWS), pa.int64()),
        }
    )


def save(overrides: str, spine: str, name: str) -> None:
    """Save a set of a store that is there."""
    from features.store import FeatureStore

    store = FeatureStore.from_conf(CONF, env="local", overrides=json.loads(overrides))
    store.get_historical_features(entity_df=spine, features=PATIENT_FEATURES).save(name)
    store.close()


def save_with_failing_tasks(folder: str) -> None:
    """Save a set thrice: while a worker is killed, while a task fails, undisturbed; found.json tells."""
    from features.config import SparkSettings
    from features.engine.session import open_session

    order = Path(folder) / "order"
    fragile = FRAGILE.replace("{order!r}", repr(str(order)))
    session = open_session(SparkSettings(master="local[2,4]", driver_memory="1g"), app="tests")
    found = {}
    for desk in open_desk(Path(folder), views=("last",), more=fragile):
        for how in ("kill", "raise", "nothing"):
            if how != "nothing":
                order.write_text(how)
            saved = desk.ask(["fragile"], numbered_spine()).save("disturbed")
            table = read(saved).sort_by("number")
            found[how] = {
                "happened": not order.exists(),
                "hash": saved.content_hash,
                "rows": saved.rows,
                "is_once": table["number"].equals(pa.chunked_array([range(ROWS)], pa.int64())),
                "sums": table["sum"].slice(0, 6).to_pylist(),
                "listed": sorted(saved.files()),
                "there": sorted(str(file) for file in Path(saved.path).rglob("*.parquet")),
            }
    session.stop()
    Path(folder, "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    {"save": save, "save_with_failing_tasks": save_with_failing_tasks}[sys.argv[1]](*sys.argv[2:])
