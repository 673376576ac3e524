"""The one door to Great Expectations: loading it quietly, and letting it judge one batch by one suite."""

import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation

# A context is global to the process while it judges.
_judging = threading.Lock()
_loading = threading.Lock()
_CONNECT_MODULES = ("pyspark.sql.connect.dataframe", "pyspark.sql.connect.session")


def load_great_expectations() -> Any:
    """The module, imported on first use (about two seconds) with its analytics switched off."""
    with _loading:
        return _load()


@cache
def _load() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with without_deprecations(), _without_spark_connect():
        import great_expectations
        import great_expectations.expectations
    return great_expectations


def preload() -> None:
    """Begin to import the module beside what the caller does next, such as waiting for a JVM to start.

    Whoever needs it waits for the rest; where it cannot be imported, the gate says so when it judges.
    """
    if "great_expectations" not in sys.modules:
        threading.Thread(target=_try_to_load, name="great-expectations").start()


def _try_to_load() -> None:
    # Whoever needs it next raises the same, where somebody can see it.
    with suppress(ImportError):
        load_great_expectations()


def validate(
    batch: DataFrame, expectations: "Sequence[Expectation]", *, rows: int, null_columns: Iterable[str] | None = None
) -> list[Any]:
    """The ExpectationValidationResult of each, in any order: `success`, or `exception_info` where it was not judged.

    Nothing is cached, written or sent: the context lives in memory, and the caller's own, if any, is put back.

    Args:
        batch: what is judged.
        expectations: by which it is.
        rows: how many the batch has.
        null_columns: where no expectation has a `mostly`, the columns that one of them expects no nulls in; None: any.
    """
    load_great_expectations()
    from great_expectations.core.batch import Batch
    from great_expectations.execution_engine.sparkdf_batch_data import SparkDFBatchData
    from great_expectations.validator.validator import Validator

    from features.quality.engine import gate_engine

    with _judging, without_deprecations(), _ephemeral_context() as context:
        counted = None if null_columns is None else frozenset(null_columns)
        engine = gate_engine()(spark=batch.sparkSession, persist=False, rows=rows, null_columns=counted)
        data: Any = SparkDFBatchData(engine, batch)
        validator = Validator(execution_engine=engine, batches=[Batch(data=data)], data_context=context)
        configurations = validator.process_expectations_for_validation([e.configuration for e in expectations])
        return list(validator.graph_validate(configurations, {"result_format": "BOOLEAN_ONLY"}))


def read_exception(result: "ExpectationValidationResult") -> str | None:
    """The first line of what kept an expectation from being judged; None where it was."""
    info: Mapping[str, Any] = result.exception_info or {}
    details = [info] if "raised_exception" in info else [entry for entry in info.values() if isinstance(entry, Mapping)]
    messages = [str(entry.get("exception_message")) for entry in details if entry.get("raised_exception")]
    return messages[0].strip().splitlines()[0] if messages else None


@contextmanager
def _ephemeral_context() -> Iterator[Any]:
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.exceptions.exceptions import DataContextRequiredError

    try:
        previous = project_manager.get_current_project()
    except DataContextRequiredError:
        previous = None
    in_memory = DataContextConfig(
        # By default it makes a folder for a site of data docs.
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        analytics_enabled=False,
    )
    try:
        yield project_manager.get_project(project_config=in_memory, mode="ephemeral")
    finally:
        project_manager.set_project(previous)


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Its own deprecations, such as of modules of Python that it imports, are nothing that a user could act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def _without_spark_connect() -> Iterator[None]:
    """Keeps Great Expectations from importing Spark Connect, which it only probes for.

    Without grpc's packages that import calls `sys.exit(0)` in a process that has no main file (`python -c`, an
    embedded interpreter): the run would end there, as if it had succeeded.
    """
    absent = [name for name in _CONNECT_MODULES if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None makes an import raise ImportError
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
