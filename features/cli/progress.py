"""Progress of long work, on stderr: one line per event of the library's log, with its counts."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from features.core.times import format_instant

# Their records repeat what an error says already, with stacks.
_VENDORS = ("DataFrameQueryContextLogger", "cassandra", "great_expectations", "py4j", "pyspark", "sqlalchemy")
_OURS = ("features", "jobs")
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


class ProgressFormatter(logging.Formatter):
    """`10:31:07 transformed view=payments@1 rows=12`; stacks only where they were asked for."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        # A message with arguments has told its figures already.
        told = {} if record.args else {k: v for k, v in vars(record).items() if k not in _STANDARD and v is not None}
        extra = "".join(f" {name}={_show(value)}" for name, value in told.items())
        line = f"{at} {level}{record.getMessage()}{extra}"
        if self._debug and record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


@contextmanager
def progress_on_stderr(*, debug: bool) -> Iterator[None]:
    """Show the library's log on stderr inside the block; with debug, what vendors log as well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ProgressFormatter(debug=debug))
    if not debug:
        # PySpark sets this logger's level and handler itself, whenever it is asked for.
        logging.getLogger("DataFrameQueryContextLogger").disabled = True
        # py4j reports an interrupt through the root logger.
        handler.addFilter(lambda record: "py4j" not in record.pathname)
    wanted = dict.fromkeys(_OURS, logging.DEBUG if debug else logging.INFO)
    wanted |= dict.fromkeys(_VENDORS, logging.INFO if debug else logging.CRITICAL)
    levels = {name: logging.getLogger(name).level for name in wanted}
    logging.getLogger().addHandler(handler)
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _show(value: object) -> str:
    return format_instant(value) if isinstance(value, datetime) else str(value)
