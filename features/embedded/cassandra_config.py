"""What a small single Cassandra node is started with: cassandra.yaml, logback.xml and the options of its JVM.

Plain functions from values to text: nothing here reads the machine or starts anything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

# Cassandra's own conf/jvm17-server.options asks for these: it reflects into the JDK's modules.
_EXPORTS = (
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.unsupported/sun.misc",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
)
_MAIN_CLASS = "org.apache.cassandra.service.CassandraDaemon"


def cassandra_yaml(
    *, host: str, port: int, storage_port: int, storage_dir: Path, options: Mapping[str, object] | None = None
) -> str:
    """The text of cassandra.yaml for one node that is its own seed.

    Args:
        host: loopback address that everything binds to.
        port: CQL.
        storage_port: between nodes; a lone node opens it too.
        storage_dir: holds data, commit log, caches and hints.
        options: settings of cassandra.yaml that win over those here.
    """
    settings: dict[str, object] = {
        "cluster_name": "feature-platform",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{host}:{storage_port}"}],
            }
        ],
        "num_tokens": 4,
        "listen_address": host,
        "storage_port": storage_port,
        "rpc_address": host,
        "native_transport_port": port,
        "start_native_transport": True,
        "data_file_directories": [str(storage_dir / "data")],
        "commitlog_directory": str(storage_dir / "commitlog"),
        "saved_caches_directory": str(storage_dir / "saved_caches"),
        "hints_directory": str(storage_dir / "hints"),
        "cdc_raw_directory": str(storage_dir / "cdc_raw"),
        # A fresh node needs no downgrade path; without one, TTLs reach to 2106 instead of 2038.
        "storage_compatibility_mode": "NONE",
        # Rows are read by key: a trie finds one without a scan of index entries, mapped files need no system call.
        "sstable": {"selected_format": "bti"},
        "disk_access_mode": "mmap",
        # Periodic syncing loses the last acknowledged writes of a killed process: 6 to 54 of 500, measured. Batch loses
        # none, so what a loader has verified stays.
        "commitlog_sync": "batch",
        "commitlog_total_space": "256MiB",
        "memtable_heap_space": "128MiB",
        "memtable_offheap_space": "128MiB",
        "file_cache_size": "64MiB",
        "key_cache_size": "16MiB",
        "counter_cache_size": "0MiB",
        "concurrent_reads": 8,
        # Each write waits for the disk; those that wait together share one sync.
        "concurrent_writes": 32,
        "concurrent_counter_writes": 2,
        "concurrent_materialized_view_writes": 2,
        "concurrent_compactors": 1,
        "concurrent_validations": 1,
        "compaction_throughput": "0MiB/s",
        "stream_throughput_outbound": "0MiB/s",
        "read_request_timeout": "5s",
        "range_request_timeout": "20s",
        "write_request_timeout": "10s",
        "truncate_request_timeout": "60s",
        "request_timeout": "10s",
        # Batches of 50 wide feature rows pass the default of 50KiB.
        "batch_size_warn_threshold": "128KiB",
        "batch_size_fail_threshold": "512KiB",
        "auto_snapshot": False,
        "hinted_handoff_enabled": False,
        "materialized_views_enabled": False,
        "user_defined_functions_enabled": False,
        "cdc_enabled": False,
        "auto_bootstrap": False,
    }
    settings.update(options or {})
    return yaml.safe_dump(settings, sort_keys=False)


def logback_xml(log: Path) -> str:
    """The text of logback.xml: warnings and stages into one rolling file of at most 3 x 10 MB."""
    return f"""<configuration>
  <appender name="FILE" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>{log}</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>{log}.%i</fileNamePattern>
      <minIndex>1</minIndex>
      <maxIndex>2</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy">
      <maxFileSize>10MB</maxFileSize>
    </triggeringPolicy>
    <encoder>
      <pattern>%-5level [%thread] %date{{"yyyy-MM-dd'T'HH:mm:ss,SSS", UTC}} %logger{{0}} - %msg%n</pattern>
    </encoder>
  </appender>
  <root level="INFO">
    <appender-ref ref="FILE"/>
  </root>
</configuration>
"""


def jvm_command(
    *,
    java: Path,
    java_version: int,
    jars: Sequence[Path],
    heap_mb: int,
    config: Path,
    logback: Path,
    storage_dir: Path,
    temporary_dir: Path,
    jmx_port: int,
    class_archive: Sequence[str] = (),
    properties: Mapping[str, object] | None = None,
) -> list[str]:
    """The command that starts a node in the foreground.

    Args:
        java: the `java` executable.
        java_version: its major version, 17 to 21.
        jars: the class path, in an order that never changes: a class archive depends on it.
        heap_mb: MiB, also the bound of direct memory.
        config: cassandra.yaml.
        logback: logback.xml.
        storage_dir: where Cassandra puts what the yaml does not place.
        temporary_dir: where native libraries are unpacked.
        jmx_port: loopback only.
        class_archive: the JVM's options about its class archive.
        properties: of Java, that win over those here.
    """
    flags = [
        f"-Xms{heap_mb}m",
        f"-Xmx{heap_mb}m",
        f"-XX:MaxDirectMemorySize={heap_mb}m",
        "-ea",
        # Its queues run out of memory by design once their assertions are on.
        "-da:net.openhft...",
        "-Xss512k",
        "-XX:+UseG1GC",
        "-XX:+UseStringDeduplication",
        "-XX:+PerfDisableSharedMem",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={storage_dir / 'hs_err_%p.log'}",
        *class_archive,
    ]
    if java_version > 17:
        # Cassandra installs a security manager, which JDK 18 and later refuse unless told otherwise.
        flags.append("-Djava.security.manager=allow")
    for module in _EXPORTS:
        flags += ["--add-exports", f"{module}=ALL-UNNAMED"]
    for module in _OPENS:
        flags += ["--add-opens", f"{module}=ALL-UNNAMED"]
    chosen: dict[str, object] = {
        "java.io.tmpdir": temporary_dir,
        "java.net.preferIPv4Stack": "true",
        "jdk.attach.allowAttachSelf": "true",
        "io.netty.tryReflectionSetAccessible": "true",
        "logback.configurationFile": logback,
        "cassandra.config": config.as_uri(),
        "cassandra.storagedir": storage_dir,
        "cassandra.jmx.local.port": jmx_port,
        # A lone node has nobody to wait for.
        "cassandra.skip_wait_for_gossip_to_settle": 0,
        "cassandra.ring_delay_ms": 0,
        "cassandra.superuser_setup_delay_ms": 0,
        "cassandra.shutdown_announce_in_ms": 0,
    }
    flags += [f"-D{name}={value}" for name, value in (chosen | dict(properties or {})).items()]
    return [str(java), *flags, "-cp", ":".join(map(str, jars)), _MAIN_CLASS]
