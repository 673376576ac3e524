"""`python -m benchmarks.incremental`: one day's build after 10, 100 and 1,000 days of history should cost the same.

The view has windows of seven days, its source a folder for each day. A history holds what daily runs leave: a Delta
commit, a run and an entry in the ledger for each day. Each repeat builds the next day, the same one upon every history,
in a process of its own; the session is warm: the same build on a short history precedes, uncounted. The rows that were
appended are compared before times count. Every tenth commit of a Delta table writes a checkpoint, the first of a race
too: it shows in the spread.

The last line is one JSON object: "seconds" (medians) by days of history with "spread" [least, most], and "ratios" of
each to the shortest, run by run, with their spread.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from benchmarks.incremental.daily import copy
from benchmarks.incremental.shape import MEASURED_DAYS, Shape
from benchmarks.places import out_path, remove
from benchmarks.racing import Contender, ContenderFailedError, Run, module_command, paired_ratio, race, say

_WARM_UP_DAYS = 7
_HISTORIES = (10, 100, 1_000)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and print the figures; 1 where a run failed or appended other rows, 2 on wrong usage."""
    default = Shape()
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.incremental",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument(
        "--days", type=int, nargs="+", default=_HISTORIES, metavar="N", help="of history (default %(default)s)"
    )
    flags.add_argument("--rows", type=int, default=default.rows, help="of each day (default %(default)s)")
    flags.add_argument("--repeats", type=int, default=5, help="of each, in alternating order (default %(default)s)")
    flags.add_argument("--fresh", action="store_true", help="make the histories again, after a change of builds")
    given = flags.parse_args(argv)
    histories = sorted(set(given.days))
    try:
        shape = Shape(longest=max(histories), rows=given.rows)
        if histories[0] < _WARM_UP_DAYS or not 1 <= given.repeats <= MEASURED_DAYS:
            raise ValueError(f"--days must be at least {_WARM_UP_DAYS}, --repeats 1 to {MEASURED_DAYS}")
    except ValueError as exc:
        flags.error(str(exc))
    if given.fresh:
        remove(shape.folder)
    try:
        _make_histories(shape, [_WARM_UP_DAYS, *histories])
        stores = {f"{days}_days": copy(shape.history(days)) for days in histories}
        contenders = [_contender(name, store, shape) for name, store in stores.items()]
        result = race(contenders, repeats=given.repeats, check=lambda runs: _check(runs, stores))
    except ContenderFailedError as exc:
        say(f"error: {exc}")
        return 1
    shortest, *longer = stores
    ratios = paired_ratio(result, {f"{name}_to_{shortest}": (name, shortest, 1) for name in longer})
    figures = {"benchmark": "incremental", "rows": shape.rows, **result.figures(ours=shortest), **ratios}
    print(json.dumps(figures))
    return 0


def _make_histories(shape: Shape, histories: Sequence[int]) -> None:
    missing = [str(days) for days in histories if not shape.history(days).exists()]
    if missing:
        say(f"writing histories of {', '.join(missing)} days into {shape.folder}")
        sizes = ("--longest", str(shape.longest), "--rows", str(shape.rows))
        command = module_command("benchmarks.incremental.history", *sizes, "--days", *missing)
        subprocess.run(command, check=True, stdout=sys.stderr)


def _contender(name: str, store: Path, shape: Shape) -> Contender:
    arguments = ("run", store, shape.history(_WARM_UP_DAYS), out_path(name))
    return Contender(name=name, command=module_command("benchmarks.incremental.contend", *arguments))


def _check(runs: Mapping[str, Run], stores: Mapping[str, Path]) -> None:
    """Raises: ContenderFailedError: a run appended other rows than the first of its round."""
    wanted: pa.Table | None = None
    for name, run in runs.items():
        found = _appended(stores[name], datetime.fromisoformat(run.notes["end"]))
        if wanted is None:
            wanted = found
        if not found.num_rows or not found.equals(wanted):
            raise ContenderFailedError(f"{name} appended {found.num_rows} rows that are not those of the run before it")


def _appended(store: Path, end: datetime) -> pa.Table:
    """The rows of the day that ended then but for their position, sorted."""
    from deltalake import DeltaTable

    (log,) = (path.parent for path in store.glob("warehouse/*/v1/_delta_log"))
    files = ds.dataset(DeltaTable(str(log)).file_uris(), format="parquet")
    mine = pc.field("_interval") == pa.scalar(end, pa.timestamp("us", tz="UTC"))
    rows = files.to_table(filter=mine).drop_columns(["_seq"])
    return rows.sort_by([("customer", "ascending"), ("event_timestamp", "ascending")])


if __name__ == "__main__":
    sys.exit(main())
