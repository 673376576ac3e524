"""The folder of one node: where each file is, and the record of the process that was started last."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from features.embedded.security import Security

_INTERESTING = ("ERROR", "Exception", "Caused by", "Error:", "No space left")


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRecord:
    """What was started: enough to find, judge and stop it from any other process.

    `started_at` is in seconds since 1970, UTC. `log_from` is the size that the log had before, in bytes;
    `archive` is its class archive, `archive_part` where it writes one when it ends. `jmx_port` is on 127.0.0.1,
    whatever `host` is. `tls_dir` holds its certificates, where it speaks TLS.
    """

    pid: int
    mark: str
    host: str
    port: int
    storage_port: int
    jmx_port: int
    started_at: float
    log_from: int
    archive: str
    archive_part: str | None
    passwords: bool = False
    tls: bool = False
    client_certificates: bool = False
    tls_dir: str = ""

    @property
    def security(self) -> Security:
        """What it demands of clients."""
        return Security(passwords=self.passwords, tls=self.tls, client_certificates=self.client_certificates)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFiles:
    """Paths below a node's folder, which is absolute."""

    folder: Path

    @property
    def storage(self) -> Path:
        """Data, commit log and caches: all that must outlive a stop."""
        return self.folder / "storage"

    @property
    def temporary(self) -> Path:
        """Unpacked native libraries, of no use after a stop."""
        return self.folder / "tmp"

    @property
    def superuser(self) -> Path:
        """Marks data in which the first role was made, which a node with passwords does a moment after it answers."""
        return self.storage / "superuser-made"

    @property
    def config(self) -> Path:
        """The generated cassandra.yaml."""
        return self.folder / "cassandra.yaml"

    @property
    def logback(self) -> Path:
        """The generated logging configuration."""
        return self.folder / "logback.xml"

    @property
    def log(self) -> Path:
        """What Cassandra logs, rolling."""
        return self.folder / "cassandra.log"

    @property
    def output(self) -> Path:
        """What the JVM itself says, anew at each start."""
        return self.folder / "jvm.log"

    @property
    def record_path(self) -> Path:
        """The record, as JSON."""
        return self.folder / "node.json"

    @property
    def lock(self) -> Path:
        """Held while somebody starts, stops or resets."""
        return self.folder / "control.lock"

    @property
    def running_lock(self) -> Path:
        """Held by the JVM as long as it lives, so that two never write the same data."""
        return self.folder / "running.lock"

    def create(self) -> None:
        """Makes the folders, the temporary one empty. Raises: OSError."""
        if self.temporary.exists():
            shutil.rmtree(self.temporary)
        for folder in (self.storage, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)

    def delete(self) -> None:
        """Deletes what a node made here, and nothing else. The control lock stays: its holder calls this."""
        for folder in (self.storage, self.temporary):
            if folder.exists():
                shutil.rmtree(folder)
        rolled = self.folder.glob(f"{self.log.name}.*")
        for path in (self.config, self.logback, self.log, self.output, self.record_path, self.running_lock, *rolled):
            path.unlink(missing_ok=True)

    def read_record(self) -> NodeRecord | None:
        """The process that was started last, running or not; None where none was, or its record is damaged."""
        try:
            content = json.loads(self.record_path.read_text(encoding="utf-8"))
            known = {field.name for field in fields(NodeRecord)}
            return NodeRecord(**{name: value for name, value in content.items() if name in known})
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            return None

    def write_record(self, record: NodeRecord) -> None:
        """Replaces the record, whole or not at all."""
        passing = self.record_path.with_name(f"{self.record_path.name}.{os.getpid()}")
        passing.write_text(json.dumps(asdict(record)), encoding="utf-8")
        passing.replace(self.record_path)

    def log_size(self) -> int:
        """Bytes in the log now: what is beyond them later is of a later start."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_since(self, log_from: int) -> str:
        """The log from that byte on."""
        return "\n".join(_lines(self.log, log_from))

    def has_rolled_since(self, moment: float) -> bool:
        """Whether older parts of the log were put aside, or are gone, since that moment in seconds since 1970."""
        return any(path.stat().st_mtime >= moment for path in self.folder.glob(f"{self.log.name}.*"))

    def last_words(self, log_from: int, *, limit: int = 8) -> list[str]:
        """The lines of the JVM's output and, from that byte on, of the log that best say why a start failed."""
        output = _lines(self.output, 0)
        log = _lines(self.log, log_from)
        told = [line for line in output if not line.startswith(("WARNING:", "OpenJDK 64-Bit Server VM warning"))]
        telling = [line for line in (*told, *log) if any(word in line for word in _INTERESTING)]
        # An error is often told in the output and in the log.
        distinct = list(dict.fromkeys(line.strip()[:400] for line in telling or (*told, *log)[-limit:]))
        return distinct[:limit]


def _lines(path: Path, start: int) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        # A log that rolled over since is shorter than it was.
        file.seek(start if start <= path.stat().st_size else 0)
        text = file.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()]
