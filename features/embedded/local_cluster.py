"""All the services of an environment that spans machines, as processes of this one: Spark, Cassandra and PostgreSQL."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from features.config import Settings
from features.embedded import postgresql
from features.embedded.cassandra import CassandraNode, Status
from features.embedded.cassandra_cluster import CassandraCluster
from features.embedded.postgresql import PostgresqlServer, PostgresqlStatus
from features.embedded.serving import embedded_cassandra
from features.embedded.spark_cluster import HOST, SparkCluster, SparkStatus
from features.errors import UsageError

DEFAULT_FOLDER = Path(".state/cluster")
_LOOPBACK = (HOST, "localhost")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterStatus:
    """What each service does now."""

    spark: SparkStatus
    cassandra: tuple[Status, ...]
    postgresql: PostgresqlStatus

    @property
    def running(self) -> bool:
        """Whether all of them run."""
        return self.spark.running and self.postgresql.running and all(node.running for node in self.cassandra)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalCluster:
    """The services that serve one environment from this machine. Each is found again by its folder."""

    spark: SparkCluster
    cassandra: CassandraNode | CassandraCluster
    postgresql: PostgresqlServer

    def status(self) -> ClusterStatus:
        """What runs, without connecting."""
        nodes = self.cassandra.status()
        return ClusterStatus(
            spark=self.spark.status(),
            cassandra=nodes if isinstance(nodes, tuple) else (nodes,),
            postgresql=self.postgresql.status(),
        )

    def start(self, progress: Callable[[str], None] = lambda _: None) -> ClusterStatus:
        """Starts what does not run; returns once all of it can be used.

        Raises:
            PlatformError: one does not start. The others go on: start again, or stop.
        """
        self.postgresql.start(progress)
        self.spark.start(progress)
        self.cassandra.start(progress)
        return self.status()

    def stop(self) -> ClusterStatus:
        """Stops all of it and keeps what they hold.

        Raises:
            PlatformError: a process does not end.
        """
        # Where one fails, the others are stopped all the same.
        with ExitStack() as stack:
            stack.callback(self.postgresql.stop)
            stack.callback(self.cassandra.stop)
            stack.callback(self.spark.stop)
        return self.status()

    def reset(self) -> ClusterStatus:
        """Stops all of it and deletes what they hold; the warehouse stays.

        Raises:
            PlatformError: a process does not end, or files cannot be deleted.
        """
        with ExitStack() as stack:
            stack.callback(self.postgresql.reset)
            stack.callback(self.cassandra.reset)
            stack.callback(self.spark.reset)
        return self.status()


def local_cluster(settings: Settings, *, folder: Path = DEFAULT_FOLDER) -> LocalCluster:
    """The services that the settings name, where all are of this machine.

    Args:
        settings: `spark.master` and `registry` with loopback addresses, `online.embedded` on.
        folder: of Spark; PostgreSQL's is that of the registry's `passfile`.

    Raises:
        UsageError: one of them is not of this machine, or is none that can be started here.
    """
    nothing = f"nothing starts for environment {settings.env!r}:"
    advice = "take --env cluster, or see docs/cluster.md"
    master, registry = urlsplit(settings.spark.master or ""), urlsplit(settings.registry)
    if master.scheme != "spark" or master.hostname not in _LOOPBACK or master.port is None:
        raise UsageError(f"{nothing} spark.master is {settings.spark.master!r}, not spark://{HOST}:PORT; {advice}")
    passfile = parse_qs(registry.query).get("passfile", [""])[0]
    if not registry.scheme.startswith("postgresql") or registry.hostname not in _LOOPBACK or not passfile:
        raise UsageError(
            f"{nothing} registry is no PostgreSQL on {HOST} whose URL ends in ?passfile=FOLDER/pgpass; {advice}"
        )
    if (registry.username, registry.path) != (postgresql.USER, f"/{postgresql.DATABASE}"):
        raise UsageError(
            f"{nothing} the registry's user and database are to be {postgresql.USER} and {postgresql.DATABASE}"
        )
    server = PostgresqlServer(state_dir=Path(passfile).parent, port=registry.port or 5432)
    if server.passfile.name != Path(passfile).name:
        raise UsageError(f"{nothing} the registry's passfile is to be named {server.passfile.name}")
    return LocalCluster(
        spark=SparkCluster(state_dir=folder / "spark", port=master.port),
        cassandra=embedded_cassandra(settings),
        postgresql=server,
    )


def stop_default_cluster(*, delete: bool = False) -> bool:
    """Stops Spark and PostgreSQL in the default folder, whatever conf says now; whether they ran.

    Args:
        delete: what they hold, too, which may lie elsewhere.

    Raises:
        PlatformError: a process does not end.
    """
    spark = SparkCluster(state_dir=DEFAULT_FOLDER / "spark")
    server = PostgresqlServer(state_dir=DEFAULT_FOLDER / "postgresql")
    ran = bool(spark.status().pids) or server.status().running
    if delete:
        spark.reset()
        server.reset()
    else:
        spark.stop()
        server.stop()
    return ran
