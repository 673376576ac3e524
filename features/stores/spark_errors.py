"""What Spark raises, and what of it a person can use."""

import re

# What Delta says to the loser; the prefix covers its kinds.
_LOST_RACES = ("DELTA_CONCURRENT_", "DELTA_PROTOCOL_CHANGED", "DELTA_METADATA_CHANGED", "DELTA_PATH_EXISTS")


def spark_errors() -> tuple[type[Exception], ...]:
    """The exceptions of a Spark call: those that PySpark has words for, and those that come as the JVM threw them."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    return (PySparkException, Py4JError)


def first_line(exc: BaseException) -> str:
    """What an error of Spark or Delta says, without its stack, its JVM's and its codes."""
    text = str(exc)
    # A raw error of the JVM comes as its class and sentence, one line per cause: the first says what went wrong.
    # What waited for another thread only says that this one failed.
    told_by = r"^(?:: |Caused by: )[\w.$]+: (?!Exception thrown in awaitResult)(.+)$"
    causes: list[str] = re.findall(told_by, text, re.MULTILINE)
    if "Py4J" in type(exc).__name__ and causes:
        text = causes[0]
    if "Traceback (most recent call last)" in text:
        # An error in a Python worker: its last line says what went wrong.
        raised = re.findall(r"^(\w[\w.]*(?:Error|Exception|Warning|Interrupt|Exit)\b.*)$", text, re.MULTILINE)
        text = raised[-1] if raised else text
    line = next((line for line in text.splitlines() if line.strip()), type(exc).__name__)
    told = line.split(" SQLSTATE:")[0].strip()
    # That a task could not write says nothing of why: a full disk, say, or a folder without rights.
    cause = _root_cause(exc) if told.startswith("[TASK_WRITE_FAILED]") else ""
    return f"{told} {cause}".strip()


def _root_cause(exc: BaseException) -> str:
    """What the JVM's first cause says; empty where there is none."""
    # Of what PySpark has words for, and of what it has none for.
    thrown = getattr(exc, "_origin", None) or getattr(exc, "java_exception", None)
    if thrown is None:
        return ""
    while (cause := thrown.getCause()) is not None:
        thrown = cause
    return next(iter(str(thrown.getMessage()).splitlines()), "")


def is_lost_race(exc: BaseException) -> bool:
    """Whether Delta refused a commit since another one came first: of a position, or of the table's creation."""
    return any(f"[{condition}" in str(exc) for condition in _LOST_RACES)


def is_unreadable_file(exc: BaseException) -> bool:
    """Whether a file could not be read, rather than a computation on it."""
    told = ("FAILED_READ_FILE", "ParquetDecodingException", "features.errors.SourceError")
    return any(sign in str(exc) for sign in told)


# What a cluster or a machine was short of at one moment: executors, memory, disk, a connection.
_PASSING = re.compile(
    r"ExecutorLostFailure|FetchFailed|MetadataFetchFailed|ExecutorDeadException|[Ee]xecutor \S+ (?:exited|lost)"
    r"|OutOfMemoryError|SparkOutOfMemory|No space left on device|ENOSPC"
    r"|SparkContext was shut down|Cannot call methods on a stopped SparkContext"
    r"|Py4JNetworkError|Answer from Java side is empty|Error while sending or receiving"
    r"|java\.net\.(?:ConnectException|SocketTimeoutException|SocketException|UnknownHostException)"
    r"|SlowDown|ServiceUnavailable|Python worker exited unexpectedly"
)


def is_passing(exc: BaseException) -> bool:
    """Whether Spark failed for want of what may be there next time, in the error itself or in what it came from."""
    seen: set[int] = set()
    cause: BaseException | None = exc
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if _PASSING.search(f"{type(cause).__name__}: {cause}"):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
