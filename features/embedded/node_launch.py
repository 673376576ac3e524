"""Starting the process of a node, and waiting until it answers."""

import os
import signal
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.embedded import class_archive, ports
from features.embedded.cassandra_config import cassandra_yaml, jvm_command, logback_xml
from features.embedded.cql_probe import answers_cql, logs_in
from features.embedded.disk import require_space
from features.embedded.jars import ensure_jars
from features.embedded.jdk import Java, find_java
from features.embedded.locking import try_lock
from features.embedded.node_files import NodeFiles, NodeRecord
from features.embedded.processes import birth_mark, is_running, pids_with_open, send_signal, spawn_detached
from features.embedded.ring import Ring
from features.embedded.security import FIRST_ROLE, Certificates, Security, make_certificates, security_options
from features.errors import PlatformError

READY_SECONDS = 180.0
TERMINATE_SECONDS = 20.0
# Cassandra binds JMX to the loopback address of Java, whatever the node's own is.
JMX_HOST = "127.0.0.1"
_KILL_SECONDS = 10.0
_RELEASE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_TELL_SECONDS = 5.0
_FULL_DISK = ("No space left on device", "FSDiskFullWriteError", "Insufficient disk space")


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What is asked for: where, how large, how protected, and settings of cassandra.yaml that win over all others.

    A port of 0 is the last one, or any free one. `ring`: the cluster that the node is of; None: it is alone.
    """

    host: str
    port: int
    heap_mb: int
    options: Mapping[str, object]
    security: Security
    certificates: Certificates
    ring: Ring | None


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
    if asked.ring is None:
        storage_port = _other_port(asked.host, last.storage_port if last else 0, avoid=(port,))
    else:
        storage_port = _free_port(asked.host, asked.ring.storage_port, "reset the cluster")
    jmx_port = _other_port(JMX_HOST, last.jmx_port if last else 0, avoid=(port, storage_port))
    if asked.security.tls:
        make_certificates(asked.certificates, asked.ring.hosts if asked.ring else (asked.host,))
    options = {
        **(asked.ring.options(asked.host) if asked.ring else {}),
        **security_options(asked.security, asked.certificates),
        **asked.options,
    }
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
            options=options,
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
        properties=asked.ring.properties() if asked.ring else None,
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
        passwords=asked.security.passwords,
        tls=asked.security.tls,
        client_certificates=asked.security.client_certificates,
        tls_dir=str(asked.certificates.folder) if asked.security.tls else "",
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
    context = _context(record)
    _wait(lambda: answers_cql(record.host, record.port, context=context), record, files, progress)


def await_first_role(record: NodeRecord, files: NodeFiles, progress: Callable[[str], None]) -> None:
    """Returns once somebody can log in, for which fresh data needs a moment more, and a new cluster a quorum of nodes.

    Raises:
        PlatformError: as `await_ready`.
    """
    # Later the password may have been changed, so that nothing could be learned from trying it.
    if record.passwords and not files.superuser.exists():
        context = _context(record)
        _wait(lambda: logs_in(record.host, record.port, *FIRST_ROLE, context=context), record, files, progress)
        files.superuser.touch()


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
    kill(record)


def kill(record: NodeRecord) -> None:
    """Ends the process at once, as a crash would (SIGKILL), and drops the class archive that it may have half written.

    Raises:
        PlatformError: it did not end.
    """
    send_signal(record.pid, record.mark, signal.SIGKILL)
    if record.archive_part:
        Path(record.archive_part).unlink(missing_ok=True)
    if not _gone(record, _KILL_SECONDS):
        raise PlatformError(f"Cassandra (pid {record.pid}) does not end, not even killed; its disk may hang")


def _cql_port(asked: Launch, last: int, progress: Callable[[str], None]) -> int:
    if asked.port:
        return _free_port(asked.host, asked.port, "set online.port to a free one")
    if last and ports.is_free(asked.host, last):
        return last
    port = ports.choose_free(asked.host)
    if last:
        progress(f"port {last}, used before, is taken: Cassandra moves to {port}")
    return port


def _free_port(host: str, port: int, otherwise: str) -> int:
    if ports.is_free(host, port):
        return port
    if port < 1024:
        raise PlatformError(f"port {port} on {host} is in use or reserved to root; set online.port to one above 1023")
    pid = ports.holder(port)
    by = f"pid {pid}" if pid else "a process of another user"
    raise PlatformError(f"port {port} on {host} is in use by {by}; stop that, or {otherwise}")


def _context(record: NodeRecord) -> ssl.SSLContext | None:
    return Certificates(folder=Path(record.tls_dir)).client_context() if record.tls else None


def _wait(is_ready: Callable[[], bool], record: NodeRecord, files: NodeFiles, progress: Callable[[str], None]) -> None:
    began = told = time.monotonic()
    while not is_ready():
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
