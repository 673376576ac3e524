"""What makes a plain `spark-submit` of this environment start soon, run its own Python and log errors alone."""

import os
import sys
from pathlib import Path

from features.embedded.disk import explained
from features.embedded.jar_download import spark_jars
from features.errors import PlatformError

_MARK = "# Written by feature-platform; remove this line to keep your own changes."
# Errors in a line each: what they mean for a job, its own message says, and stacks are for --debug.
_LOGGING = f"""\
{_MARK}
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.alwaysWriteExceptions = false
appender.stderr.layout.pattern = %d{{HH:mm:ss}} spark %p: %replace{{%m}}{{[\\r\\n][\\s\\S]*}}{{}}%n
"""

# A job is over before the optimizing compiler pays: on a tiny interval this saves two fifths of the processor's time.
# Without the optimizing compiler the JVM reserves 48 MiB for code: a long backfill fills them, and is interpreted from
# then on. Options that are given to spark-submit come later, and win.
JVM_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -Djava.net.preferIPv4Stack=true"


def install_spark_conf(*, folder: Path | None = None, executable: str = sys.executable) -> Path:
    """Write Spark's own conf files into the pyspark of this environment; where they are. Again is cheap.

    Files that someone else wrote stay as they are. $SPARK_CONF_DIR, where it is set, wins over this folder.

    Args:
        folder: of an installed Spark; None: of this environment's pyspark.
        executable: the Python that runs jobs.

    Raises: PlatformError: no pyspark, or its folder is read-only.
    """
    home = folder or spark_jars().parent
    conf = home / "conf"
    with explained(conf, "Spark's conf files", "install pyspark into an environment of your own"):
        conf.mkdir(exist_ok=True)
        _write(conf / "log4j2.properties", _LOGGING)
        settings = {"spark.pyspark.driver.python": executable, "spark.driver.defaultJavaOptions": JVM_OPTIONS}
        _write(conf / "spark-defaults.conf", "\n".join([_MARK, *(f"{k} {v}" for k, v in settings.items()), ""]))
    return conf


def link_spark_home(*, home: Path | None = None, scripts: Path | None = None) -> Path:
    """The link by which pyspark's scripts find Spark although the environment is not activated.

    They ask any `python3` of the PATH where Spark is, and it looks for this name beside them.

    Args:
        home: the folder of Spark; None: of this environment's pyspark.
        scripts: the folder of spark-submit; None: of this environment.

    Raises: PlatformError: something else has that name, or the folder is read-only.
    """
    home = home or spark_jars().parent
    link = (scripts or Path(sys.prefix, "bin")) / "spark-distribution"
    with explained(link.parent, "a link to Spark", "make an environment of your own"):
        if link.is_symlink() and Path(os.readlink(link)) == home:
            return link
        if link.exists() and not link.is_symlink():
            raise PlatformError(f"{link} is not the link that `make setup` makes; remove it")
        passing = link.with_name(f".{link.name}.{os.getpid()}")
        passing.symlink_to(home, target_is_directory=True)
        passing.replace(link)
    return link


def _write(path: Path, text: str) -> None:
    if path.exists():
        found = path.read_text(encoding="utf-8")
        if found == text or not found.startswith(_MARK):
            return
    passing = path.with_name(f".{path.name}.{os.getpid()}")
    passing.write_text(text, encoding="utf-8")
    passing.replace(path)
