import json
import logging

import pytest

from features.cli.running import Answer, explain, run
from features.errors import (
    ConfigError,
    DefinitionError,
    FeatureStoreError,
    IntervalError,
    NotFoundError,
    NotLoadedError,
    OnlineStoreError,
    PlatformError,
    RefusedError,
    RegistryError,
    SourceError,
    StaleCodeError,
    StorageError,
    TransformError,
    UsageError,
)


def _raise(error: BaseException) -> Answer:
    raise error


def test_text_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: Answer(text="done", data={}), as_json=False, debug=False) == 0
    assert capsys.readouterr().out == "done\n"


def test_an_answer_may_be_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: Answer(text="", data={"problems": 1}, exit_code=1), as_json=True, debug=False) == 1
    assert json.loads(capsys.readouterr().out) == {"problems": 1}


def test_a_refusal_exits_1_with_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: _raise(RefusedError("two rows fail")), as_json=False, debug=False) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "error: two rows fail\n")


def test_an_unexpected_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    broken = ValueError("An error occurred while calling o1.\n: org.apache.spark.X\n\tat org.apache.spark.Y(Z.scala)")
    assert run(lambda: _raise(broken), as_json=True, debug=False) == 1
    printed = capsys.readouterr()
    said = "internal error: ValueError: An error occurred while calling o1.; run again with --debug"
    assert printed.err == f"error: {said}\n"
    error = {"type": "InternalError", "message": said, "exit_code": 1, "retry": True}
    assert json.loads(printed.out) == {"error": error}


def test_an_error_that_quotes_a_stack_loses_it(capsys: pytest.CaptureFixture[str]) -> None:
    quoting = SourceError("payments cannot be read: gone\n\tat org.apache.spark.Y(Z.scala)\n\tat java.base/x")
    assert run(lambda: _raise(quoting), as_json=False, debug=False) == 1
    assert capsys.readouterr().err == "error: payments cannot be read: gone\n"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: _raise(SourceError("gone")), as_json=False, debug=True) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.endswith("error: gone\n")


def test_ctrl_c_exits_130_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: _raise(KeyboardInterrupt()), as_json=False, debug=False) == 130
    assert capsys.readouterr().err.startswith("interrupted")


def test_a_missing_vendor_names_its_extra(capsys: pytest.CaptureFixture[str]) -> None:
    missing = ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
    assert run(lambda: _raise(missing), as_json=False, debug=False) == 1
    assert "install feature-platform[serving]" in capsys.readouterr().err


def _log_and_answer() -> Answer:
    logging.getLogger("features.somewhere").info("built", extra={"view": "plane@1", "rows": 3, "delta_version": None})
    logging.getLogger("cassandra.cluster").warning("a vendor's noise", exc_info=ValueError("x"))
    return Answer(text="", data={})


def test_progress_goes_to_stderr_with_its_counts(capsys: pytest.CaptureFixture[str]) -> None:
    run(_log_and_answer, as_json=True, debug=False)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {}
    (line,) = printed.err.splitlines()
    assert line.endswith(" built view=plane@1 rows=3")


def test_debug_shows_what_vendors_log(capsys: pytest.CaptureFixture[str]) -> None:
    run(_log_and_answer, as_json=True, debug=True)
    assert "a vendor's noise" in capsys.readouterr().err


def test_logging_is_as_before_afterwards() -> None:
    root, ours = logging.getLogger(), logging.getLogger("features")
    before = (list(root.handlers), ours.level)
    run(lambda: Answer(text="", data={}), as_json=False, debug=True)
    assert (list(root.handlers), ours.level) == before


def _interrupt_py4j() -> Answer:
    root = logging.getLogger()
    root.handle(root.makeRecord("root", logging.ERROR, "/lib/py4j/clientserver.py", 1, "while sending", (), None))
    raise KeyboardInterrupt


def test_an_interrupt_is_not_told_by_py4j_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_interrupt_py4j, as_json=False, debug=False) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


HOPELESS = (
    ConfigError, DefinitionError, FeatureStoreError, IntervalError, NotFoundError, RefusedError, RegistryError,
    SourceError, StaleCodeError, TransformError, UsageError,
)  # fmt: skip


def test_a_retry_is_advised_only_where_a_service_or_the_machine_failed() -> None:
    assert {explain(kind("wrong")).retry for kind in HOPELESS} == {False}
    assert not explain(NotLoadedError("plane@1", "no table")).retry
    assert {explain(kind("gone")).retry for kind in (StorageError, OnlineStoreError, PlatformError)} == {True}
    assert explain(RegistryError("cannot be reached", retry=True)).retry
    assert not explain(OnlineStoreError("another table", retry=False)).retry


@pytest.mark.parametrize(
    "said",
    [
        "Job aborted due to stage failure: ExecutorLostFailure (executor 1 exited caused by one of the running tasks)",
        "java.lang.OutOfMemoryError: Java heap space",
        "java.io.IOException: No space left on device",
        "org.apache.spark.shuffle.FetchFailedException: Connection reset",
        "Cannot call methods on a stopped SparkContext.",
    ],
)
def test_what_spark_was_short_of_for_a_moment_may_be_retried(said: str) -> None:
    error = TransformError("transform of 'payments' failed")
    assert not explain(error).retry
    error.__cause__ = RuntimeError(said)
    assert explain(error).retry


def test_the_end_is_recorded_as_it_is_printed() -> None:
    ends: list[object] = []
    run(lambda: Answer(text="", data={"rows": 3}), as_json=True, debug=False, record=ends.append)
    run(lambda: _raise(RefusedError("two rows fail")), as_json=False, debug=False, record=ends.append)
    failure = {"type": "RefusedError", "message": "two rows fail", "exit_code": 1, "retry": False}
    assert ends == [{"rows": 3}, {"error": failure}]
