"""What is loaded, and where it is kept. Plain Python, for any environment."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from benchmarks.places import STATE

FOLDER = STATE / "load"
TYPES = ("floats", "doubles", "mixed")
# Variants of a log: as it was first, after a change of some keys, and after a change of one.
BASE, CHANGED, TOUCHED = "base", "changed", "touched"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """rows: keys, each with one row. features: columns beside keys and times. types: theirs. changed: share of keys."""

    rows: int = 1_000_000
    features: int = 50
    types: str = "floats"
    changed: float = 0.01

    def __post_init__(self) -> None:
        if self.rows < 100 or self.features < 1:
            raise ValueError("rows must be at least 100, features at least 1")
        if self.types not in TYPES or not 0 < self.changed <= 1:
            raise ValueError(f"types is one of {', '.join(TYPES)}, changed a share")

    @property
    def folder(self) -> Path:
        """Where the logs are kept."""
        return FOLDER / f"{self.rows}x{self.features}-{self.types}-{self.changed}"

    @property
    def flags(self) -> list[str]:
        """The same as flags."""
        return [text for name, value in asdict(self).items() for text in (f"--{name}", str(value))]

    def write(self) -> None:
        """Into its folder, for contenders."""
        (self.folder / "shape.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: str | Path) -> "Shape":
        """What was written into a folder."""
        content: dict[str, Any] = json.loads((Path(folder) / "shape.json").read_text())
        return cls(**content)


def keyspace(contender: str, folder: str | Path) -> str:
    """The keyspace of a contender's run on a folder of data: no two meet."""
    return f"load_{contender}_{crc32(str(Path(folder).absolute()).encode()):08x}"


def write_node(port: int, jmx_port: int) -> None:
    """Tell contenders where Cassandra is."""
    (FOLDER / "node.json").write_text(json.dumps({"port": port, "jmx_port": jmx_port}))


def read_node() -> tuple[int, int]:
    """Cassandra's ports: CQL, JMX."""
    node = json.loads((FOLDER / "node.json").read_text())
    return int(node["port"]), int(node["jmx_port"])
