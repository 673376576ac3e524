"""Plans an as-of join: which engine joins which view, in how many ranges, and what is read at most."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from features.core.times import duration_micros
from features.engine.arrow_tasks import map_in_arrow
from features.engine.as_of.estimate import Estimate, ViewEstimate
from features.engine.as_of.ranges import Cuts, chunk_rows, cut, distribute
from features.engine.as_of.requests import AsOf, group_by_keys
from features.engine.as_of.spark_join import as_of_join
from features.engine.as_of.survey import Survey
from features.engine.as_of.task import JoinTask, LogToRead
from features.errors import UsageError
from features.stores.filesystems import anywhere
from features.stores.log_files import LogFile, LogFiles
from features.stores.log_state import CREATED, EVENT, SEQ

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from features.engine.spine import Spine

    Batches = Iterator[pa.RecordBatch]
    Then = Callable[[Batches], Batches]

ENGINES = ("auto", "native", "spark")
# What a value takes in a task, about; lists take as many of them as they have elements.
_VALUE_BYTES = 12
# A file's bytes as they are held, about, for each byte of it.
_UNPACKED = 2
# A lookback longer than all times there are, with room to subtract it from any of them. Microseconds.
_FOREVER = 1 << 61


@dataclass(frozen=True)
class JoinPlan:
    """A join that is ready to run: lazy, and pinned to versions of the logs.

    frame: the spine's rows. native: groups of views of equal join keys, each joined in one pass of its own, with the
    ranges of that pass. by_spark: views that the native engine cannot take, each with the reason.
    """

    frame: "DataFrame"
    survey: Survey
    requests: tuple[AsOf, ...]
    native: tuple[tuple[JoinTask, Cuts], ...]
    by_spark: "Mapping[int, str]"

    def to_frame(self) -> "DataFrame":
        """The spine's columns, then those of each request in order; rows in any order."""
        frame = self._but_for_the_last()
        if self.native:
            task, cuts = self.native[-1]
            frame = _pass(frame, task, cuts)
        return frame.select(*(f"`{name}`" for name in self._names))

    def to_tasks(self, then: "Then", schema: "str | StructType") -> "DataFrame":
        """The same rows and columns as Arrow batches, handed to `then` inside the tasks; what it yields, of `schema`.

        Nothing goes back to the JVM before it, so a sink that writes files writes them from the executors.
        """
        frame = self._but_for_the_last()
        if not self.native:
            ordered = frame.select(*(f"`{name}`" for name in self._names))
            return map_in_arrow(ordered, then, schema)
        task, cuts = self.native[-1]
        return map_in_arrow(distribute(frame, cuts), _Chain(task, self._names, then), schema)

    def explain(self) -> list[str]:
        """Which engine joins which view and why, and what it reads."""
        lines = []
        for place, request in enumerate(self.requests):
            pin = request.pin
            version = "no commit yet" if pin.snapshot is None else f"Delta version {pin.snapshot.version}"
            names = ", ".join(f.name for f in pin.selection.features)
            lines.append(f"{pin.selection.view.reference}: {names}")
            lines.append(f"  read at {version}, log position {pin.position}, known_at={request.known_at}")
            if place in self.by_spark:
                lines.append(
                    f"  joined by Spark, because {self.by_spark[place]}: spine and log shuffled by key, sorted"
                )
        for task, cuts in self.native:
            views = ", ".join(log.reference for log in task.logs)
            keys = ", ".join(cuts.keys)
            lines.append(
                f"native, one pass by ({keys}) for {views}: spine cut into {cuts.tasks} ranges of ({keys}, time); "
                "the logs are not shuffled: a task reads the files, row groups and columns that its range can match, "
                "then the values of rows that won"
            )
            lines += [f"  {log.reference}: at most {len(log.files)} files" for log in task.logs]
        return lines

    def estimate(self) -> Estimate:
        """What will be read, at most; nothing but Delta's own metadata is read to tell."""
        found = {}
        for task, cuts in self.native:
            for log in task.logs:
                found[log.reference] = _estimate(log.reference, "native", log.files, cuts.tasks)
        for place in self.by_spark:
            pin = self.requests[place].pin
            files = () if pin.snapshot is None else pin.log.files(pin.snapshot).files
            spark = self.frame.sparkSession
            tasks = int(spark.conf.get("spark.sql.shuffle.partitions") or 1)
            reference = pin.selection.view.reference
            found[reference] = _estimate(reference, "spark", files, tasks)
        order = dict.fromkeys(request.pin.selection.view.reference for request in self.requests)
        return Estimate(spine_rows=self.survey.rows, views=tuple(found[reference] for reference in order))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        added = [name for request in self.requests for name, _ in request.columns]
        return (*self.frame.columns, *added)

    def _but_for_the_last(self) -> "DataFrame":
        """The frame after all passes but the last native one."""
        frame = self.frame
        for place in self.by_spark:
            request = self.requests[place]
            frame = as_of_join(
                frame, request.pin.rows(), request.pin.selection, known_at=request.known_at, status=request.status
            )
        for task, cuts in self.native[:-1]:
            frame = _pass(frame, task, cuts)
        return frame


def plan_join(
    spine: "Spine", requests: Sequence[AsOf], *, frame: "DataFrame | None" = None, engine: str = "auto"
) -> JoinPlan:
    """The join of a spine with views.

    Args:
        spine: checked, with its survey. frame: other columns of the same rows to join to; None: the spine's own.
        requests: views; no two columns of one name.
        engine: "native", "spark", or "auto": native for every view whose log it can read.

    Raises: UsageError: engine="native", and a view's log cannot be read natively; StorageError: a log is damaged.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    frame = spine.frame if frame is None else frame
    by_spark: dict[int, str] = {}
    listed: dict[int, LogFiles] = {}
    for place, request in enumerate(requests):
        pin = request.pin
        if engine == "spark":
            by_spark[place] = "it was asked to"
            continue
        listed[place] = LogFiles(version=0, files=(), obstacle=None)
        if pin.snapshot is not None:
            listed[place] = pin.log.files(pin.snapshot)
        obstacle = listed[place].obstacle
        if obstacle is not None:
            if engine == "native":
                raise UsageError(f'{pin.selection.view.reference}: {obstacle}; pass engine="auto" or "spark"')
            by_spark[place] = obstacle
    survey = spine.survey
    cores = frame.sparkSession.sparkContext.defaultParallelism
    groups = group_by_keys([r for place, r in enumerate(requests) if place not in by_spark])
    places = {id(request): place for place, request in enumerate(requests)}
    passes = []
    for group in groups:
        logs = tuple(_to_read(request, listed[places[id(request)]].files, survey) for request in group)
        row_bytes = _VALUE_BYTES * len(frame.columns) + sum(map(_row_bytes, logs))
        cuts = cut(survey, group[0].keys, cores=cores, row_bytes=row_bytes)
        task = JoinTask(logs=logs, chunk_rows=chunk_rows(row_bytes), first=survey.first or 0, last=survey.last or 0)
        passes.append((row_bytes, task, cuts))
    # The widest answer last: what one pass adds, the next one shuffles.
    passes.sort(key=lambda p: p[0])
    return JoinPlan(
        frame=frame,
        survey=survey,
        requests=tuple(requests),
        native=tuple((task, cuts) for _, task, cuts in passes),
        by_spark=by_spark,
    )


@dataclass(frozen=True, slots=True)
class _Chain:
    """The join, its columns in the order asked, and what comes then: one function of a task."""

    task: JoinTask
    names: tuple[str, ...]
    then: "Then"

    def __call__(self, batches: "Batches") -> "Batches":
        return self.then(batch.select(list(self.names)) for batch in self.task(batches))


def _pass(frame: "DataFrame", task: JoinTask, cuts: Cuts) -> "DataFrame":
    from pyspark.sql.types import DataType, StructType

    added = [(name, dtype.spark) for log in task.logs for name, dtype in log.answer]
    fields = DataType.fromDDL(", ".join(f"`{name}` {kind}" for name, kind in added))
    schema = StructType([*frame.schema.fields, *fields])  # type: ignore[misc]  # a struct iterates over its fields
    return map_in_arrow(distribute(frame, cuts), task, schema)


def _to_read(request: AsOf, files: Sequence[LogFile], survey: Survey) -> LogToRead:
    pin = request.pin
    view = pin.selection.view
    log = LogToRead(
        reference=view.reference,
        table=anywhere(pin.log.path),
        version=0 if pin.snapshot is None else pin.snapshot.version,
        files=(),
        position=pin.position,
        keys=tuple(view.join_keys.items()),
        features=tuple((f.name, f.dtype) for f in pin.selection.features),
        columns=tuple(pin.selection.columns),
        lookback=None if view.lookback is None else min(duration_micros(view.lookback), _FOREVER),
        known_at=request.known_at,
        status=request.status,
    )
    if survey.first is None or survey.last is None:
        return log
    oldest = None
    if log.lookback is not None and request.status is None:
        oldest = survey.first - log.lookback
    kept = [
        file
        for file in files
        if file.may_hold(EVENT, low=oldest, high=survey.last)
        and (request.known_at == "event" or file.may_hold(CREATED, high=survey.last))
        and file.may_hold(SEQ, high=pin.position)
    ]
    return replace(log, files=tuple(kept))


def _row_bytes(log: LogToRead) -> int:
    """What the values of one row take in a task, about: by their types, or by what rows of the log take on disk."""
    by_type = sum(_VALUE_BYTES * (dtype.length or (8 if dtype.is_list else 1)) for _, dtype in log.features)
    rows = sum(file.rows or 0 for file in log.files)
    wide = any(dtype.is_list or dtype.kind in ("string", "bytes") for _, dtype in log.features)
    if not rows or not wide:
        return by_type
    return max(by_type, _UNPACKED * sum(file.size for file in log.files) // rows)


def _estimate(reference: str, engine: str, files: Sequence[LogFile], tasks: int) -> ViewEstimate:
    return ViewEstimate(
        view=reference,
        engine=engine,
        files=len(files),
        bytes=sum(file.size for file in files),
        rows=sum(file.rows or 0 for file in files),
        partitions=tasks,
    )
