"""Starting the process of a node, and waiting until it answers."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.embedded import class_archive, ports
from features.embedded.cassandra_config import cassandra_yaml, jvm_command, logback_xml
from features.embedded.disk import require_space
from features.embedded.jars import ensure_jars
from features.embedded.jdk import Java, find_java
from features.embedded.locking import try_lock
from features.embedded.node_files import NodeFiles, NodeRecord
from features.embedded.processes import birth_mark, is_running, pids_with_open, send_signal, spawn_detached
from features.errors import PlatformError

READY_SECONDS = 120.0
TERMINATE_SECONDS = 20.0
_KILL_SECONDS = 10.0
_RELEASE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_TELL_SECONDS = 5.0
_FULL_DISK = ("No space left on device", "FSDiskFullWriteError", "Insufficient disk space")


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What is asked for: where, how large, and settings of cassandra.yaml. `port` 0: the last one, or any free one."""

    host: str
    port: int
    heap_mb: int
    options: Mapping[str, object]


def launch(asked: Launch, files: NodeFiles, progress: Callable[[str], None]) -> NodeRecord:
    """Starts the process, detached, and records it. It does not answer yet.

    Raises:
        PlatformError: no JDK, no jars, a port in use, too little disk space, or data that another process uses.
        OSError: a file could not be written.
    """
    files.create()
    require_space(files.folder, "Cassandra", "keep its folder on another disk")
    last = files.read_record()
    port = _cql_port(asked, last.port if last else 0, progress)
    storage_port = _other_port(asked.host, last.storage_port if last else 0, avoid=(port,))
    jmx_port = _other_port(asked.host, last.jmx_port if last else 0, avoid=(port, storage_port))
    java = find_java()
    jars = ensure_jars("cassandra", progress=progress)
    archive = class_archive.archive_path(java, jars)
    part = None if class_archive.usable(archive) else class_archive.part_path(archive)
    files.config.write_text(
        cassandra_yaml(
            host=asked.host,
            port=port,
            storage_port=storage_port,
            storage_dir=files.storage,
            options=asked.options,
        ),
        encoding="utf-8",
    )
    files.logback.write_text(logback_xml(files.log), encoding="utf-8")
    command = jvm_command(
        java=java.path,
        java_version=java.version,
        jars=jars,
        heap_mb=asked.heap_mb,
        config=files.config,
        logback=files.logback,
        storage_dir=files.storage,
        temporary_dir=files.temporary,
        jmx_port=jmx_port,
        class_archive=class_archive.jvm_options(archive, part),
    )
    progress(f"starting Cassandra on {asked.host}:{port}")
    log_from = files.log_size()
    owned = own_data(files)
    try:
        pid = spawn_detached(command, environment=_environment(java), output=files.output, inherit=owned)
    finally:
        os.close(owned)
    record = NodeRecord(
        pid=pid,
        mark=birth_mark(pid) or "",
        host=asked.host,
        port=port,
        storage_port=storage_port,
        jmx_port=jmx_port,
        started_at=time.time(),
        log_from=log_from,
        archive=str(archive),
        archive_part=str(part) if part else None,
    )
    files.write_record(record)
    return record


def own_data(files: NodeFiles) -> int:
    """A descriptor that stands for the sole right to the node's data.

    Raises:
        PlatformError: a process has it that the node's record does not know.
    """
    deadline = time.monotonic() + _RELEASE_SECONDS
    # A process counts as ended a moment before the last of its threads lets go.
    while (owned := try_lock(files.running_lock)) is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    if owned is None:
        pids = ", ".join(map(str, pids_with_open({str(files.running_lock)}))) or "unknown, perhaps of another user"
        raise PlatformError(f"another Cassandra uses the data in {files.folder} (pid {pids}); stop that process first")
    return owned


def await_ready(record: NodeRecord, files: NodeFiles, progress: Callable[[str], None]) -> None:
    """Returns once the process answers CQL.

    Raises:
        PlatformError: it ended, with its last words; or it does not answer in time.
    """
    began = told = time.monotonic()
    while not ports.answers_cql(record.host, record.port):
        if not is_running(record.pid, record.mark):
            raise PlatformError(_why_it_ended(record, files))
        now = time.monotonic()
        if now - began > READY_SECONDS:
            raise PlatformError(
                f"Cassandra (pid {record.pid}) does not answer on {record.host}:{record.port} after "
                f"{READY_SECONDS:.0f} s; its log is {files.log}"
            )
        if now - told > _TELL_SECONDS:
            told = now
            progress(f"waiting for Cassandra, {now - began:.0f} s")
        time.sleep(_POLL_SECONDS)
    # Another server may have taken the port while ours was starting.
    if not is_running(record.pid, record.mark):
        raise PlatformError(_why_it_ended(record, files))


def terminate(record: NodeRecord) -> None:
    """Ends the process: politely, and after 20 s by force. Keeps the class archive that it may have written.

    Raises:
        PlatformError: not even force ended it.
    """
    part = Path(record.archive_part) if record.archive_part else None
    asked = send_signal(record.pid, record.mark, signal.SIGTERM)
    if asked and _gone(record, TERMINATE_SECONDS):
        if part is not None:
            class_archive.publish(part, Path(record.archive))
        return
    if asked:
        send_signal(record.pid, record.mark, signal.SIGKILL)
    if part is not None:
        # Of a JVM that did not end by itself, it may be half an archive.
        part.unlink(missing_ok=True)
    if not _gone(record, _KILL_SECONDS):
        raise PlatformError(f"Cassandra (pid {record.pid}) does not end, not even killed; its disk may hang")


def _cql_port(asked: Launch, last: int, progress: Callable[[str], None]) -> int:
    if asked.port:
        if not ports.is_free(asked.host, asked.port):
            raise PlatformError(_port_in_use(asked.host, asked.port))
        return asked.port
    if last and ports.is_free(asked.host, last):
        return last
    port = ports.choose_free(asked.host)
    if last:
        progress(f"port {last}, used before, is taken: Cassandra moves to {port}")
    return port


def _port_in_use(host: str, port: int) -> str:
    if port < 1024:
        return f"port {port} on {host} is in use or reserved to root; set online.port to one above 1023"
    pid = ports.holder(port)
    by = f"pid {pid}" if pid else "a process of another user"
    return f"port {port} on {host} is in use by {by}; stop that, or set online.port to a free one"


def _other_port(host: str, last: int, *, avoid: tuple[int, ...]) -> int:
    if last and last not in avoid and ports.is_free(host, last):
        return last
    return ports.choose_free(host, avoid=avoid)


def _environment(java: Java) -> dict[str, str]:
    # As in Cassandra's own start script: more arenas only cost memory.
    return {"MALLOC_ARENA_MAX": "4", **os.environ, "JAVA_HOME": str(java.home)}


def _gone(record: NodeRecord, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(record.pid, record.mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _why_it_ended(record: NodeRecord, files: NodeFiles) -> str:
    words = files.last_words(record.log_from)
    text = "\n  ".join(words) or "it said nothing"
    if any(sign in word for sign in _FULL_DISK for word in words):
        return f"Cassandra found the disk of {files.folder} full: free 512 MiB, then start it again. It said:\n  {text}"
    return (
        f"Cassandra ended while it started; the whole log is {files.log}, the JVM's {files.output}. It said:\n  {text}"
    )
