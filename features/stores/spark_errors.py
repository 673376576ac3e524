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
        told = re.findall(r"^(\w[\w.]*(?:Error|Exception|Warning|Interrupt|Exit)\b.*)$", text, re.MULTILINE)
        text = told[-1] if told else text
    line = next((line for line in text.splitlines() if line.strip()), type(exc).__name__)
    return line.split(" SQLSTATE:")[0].strip()


def is_lost_race(exc: BaseException) -> bool:
    """Whether Delta refused a commit since another one came first: of a position, or of the table's creation."""
    return any(f"[{condition}" in str(exc) for condition in _LOST_RACES)


def is_unreadable_file(exc: BaseException) -> bool:
    """Whether a file could not be read, rather than a computation on it."""
    told = ("FAILED_READ_FILE", "ParquetDecodingException", "features.errors.SourceError")
    return any(sign in str(exc) for sign in told)
