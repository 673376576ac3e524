"""A build upon a disk that is full, told by its own process: `unshare -rm python -m tests.full_disk FOLDER`.

The disk is a small one in memory, which only this process and what it starts can see.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from features.config import SparkSettings
from features.engine.session import open_session
from features.errors import FeatureStoreError
from tests.builders import Workshop, make_view, payments_source, write_payments

_ROOM_LEFT = 8_192


def main(folder: Path) -> None:
    """Build a day, fill the disk, build the next, make room, build it again; what became of each."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    first = [(f"k{number}", "2024-01-01 10:00", float(number)) for number in range(2_000)]
    second = [(f"k{number}", "2024-01-02 10:00", float(number)) for number in range(2_000)]
    write_payments(folder / "source", [*first, *second])
    session = open_session(SparkSettings(master="local[2]", driver_memory="1g"), app="tests")
    workshop = Workshop(session, disk)
    workshop.registry.close()
    view = make_view(sources=[payments_source(folder / "source")])
    registry = Workshop(session, folder).registry
    workshop.registry = registry
    workshop.apply(view)
    told = [workshop.build(view, "2024-01-01", "2024-01-02").status]
    filler = disk / "filler"
    with filler.open("wb") as out:
        out.write(b"0" * (shutil.disk_usage(disk).free - _ROOM_LEFT))
    try:
        workshop.build(view, "2024-01-02", "2024-01-03")
    except FeatureStoreError as exc:
        told.append(f"{type(exc).__name__}: {exc}")
    before = len(workshop.rows(view))
    filler.unlink()
    told.append(workshop.build(view, "2024-01-02", "2024-01-03").status)
    ledger = [entry.status for entry in registry.ledger(registry.view(view.name))]
    sys.stdout.write(json.dumps({"told": told, "before": before, "after": len(workshop.rows(view)), "ledger": ledger}))
    registry.close()
    session.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
