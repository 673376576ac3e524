"""What loads as SSTables need of this machine: Java and Cassandra's jars, and where embedded nodes can be told."""

from functools import cache, partial

from features.config import Settings
from features.embedded.jars import cache_folder, ensure_jars
from features.embedded.jdk import find_java
from features.embedded.serving import jmx_ports
from features.stores.sstables.java_tools import JavaHome
from features.stores.sstables.routes import BulkTools


def bulk_tools(settings: Settings) -> BulkTools:
    """The tools of an environment. Nothing is looked for yet."""
    return BulkTools(find_java=cassandra_java, jmx_ports=partial(jmx_ports, settings))


@cache
def cassandra_java() -> JavaHome:
    """The Java of this machine, and Cassandra's jars, downloaded where they are not cached.

    Looked for once in a process: Java is started to ask for its version. Raises: PlatformError.
    """
    java = find_java()
    return JavaHome(executable=java.path, build=java.build, jars=tuple(ensure_jars("cassandra")), cache=cache_folder())
