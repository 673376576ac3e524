"""What lies in the quarantine of a view version, read without Spark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from features.core.applied import AppliedView
from features.core.arrow_types import to_arrow
from features.core.dtypes import DType
from features.core.times import to_micros
from features.errors import NotFoundError, StorageError, UsageError
from features.stores.filesystems import native_uri
from features.stores.log_files import list_files
from features.stores.log_state import AVAILABLE, CREATED, EVENT, INTERVAL
from features.stores.spark_errors import first_line

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import DeltaTable

REASONS, RUN_ID = "_reasons", "_run_id"
RELEASED_AT, RELEASED_BY = "_released_at", "_released_by"
# Tables of earlier releases lack them: nothing in them was released.
MARKS = (RELEASED_AT, RELEASED_BY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Some rows of a quarantine: of the intervals that end in (start, end], None: no bound there; of some keys.

    ends: only of the intervals that end then; None: of all.
    keys: each names join keys, all or some of them, with their values; None: all rows.
    """

    start: datetime | None = None
    end: datetime | None = None
    ends: Sequence[datetime] | None = None
    keys: Sequence[Mapping[str, Any]] | None = None

    def check(self, view: AppliedView) -> None:
        """Raises: UsageError, NotFoundError: a key names no join key of the view, or has a value of another type."""
        for key in self.keys or ():
            if not key:
                raise UsageError(f"a key of {view.reference} must name some of {', '.join(view.join_keys)}")
            for name, value in key.items():
                if name not in view.join_keys:
                    raise NotFoundError.of(f"join key in {view.reference}", name, view.join_keys)
                arrow_scalar(name, value, view.join_keys[name])


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantineTable:
    """The withheld rows of one view version: keys, times, `_interval`, reasons, run, marks of a release, features."""

    view: AppliedView
    path: str

    @classmethod
    def of(cls, warehouse: str, view: AppliedView) -> "QuarantineTable":
        """The one beside the view's log."""
        return cls(view=view, path=f"{warehouse.rstrip('/')}/{view.name}/quarantine_v{view.version}")

    def version(self) -> int | None:
        """The newest Delta version; None: nothing was ever withheld. Raises: StorageError."""
        table = self._open()
        return None if table is None else table.version()

    def may_hold(self, version: int, ends: Sequence[datetime]) -> bool:
        """Whether any file of a version can hold rows of these intervals (their ends), by its statistics alone."""
        first, last = to_micros(min(ends)), to_micros(max(ends))
        listed = list_files(self.path, [INTERVAL], version=version).files
        return any(file.may_hold(INTERVAL, low=first, high=last) for file in listed)

    def read(self, chosen: Chosen, columns: Sequence[str] | None = None) -> "pa.Table":
        """The chosen rows, with all columns or some, in no order.

        Raises: StorageError: the table cannot be read; UsageError, NotFoundError: of the keys.
        """
        import pyarrow as pa
        from deltalake.exceptions import DeltaError

        chosen.check(self.view)
        table = self._open()
        wanted = [*self.columns] if columns is None else [*columns]
        try:
            if table is None:
                return pa.table({name: pa.nulls(0) for name in wanted})
            dataset = table.to_pyarrow_dataset()
            held = [name for name in wanted if name in dataset.schema.names]
            # One column at least: a table of none has no rows to filter.
            read = [*dict.fromkeys((INTERVAL, *held, *(name for key in chosen.keys or () for name in key)))]
            batches = dataset.to_batches(columns=read, filter=self._inside(chosen))
            # Keys are judged on rows: what Delta's statistics say of some types, deltalake takes for something else.
            keyed = self._keyed(chosen)
            empty = pa.schema([dataset.schema.field(name) for name in read]).empty_table()
            found = pa.concat_tables([empty, *(pa.Table.from_batches([batch]).filter(keyed) for batch in batches)])
        except (DeltaError, pa.ArrowException, OSError) as exc:
            raise StorageError(f"cannot read the quarantine at {self.path}: {first_line(exc)}") from exc
        for name in wanted:
            if name not in held:
                found = found.append_column(name, pa.nulls(len(found)))
        return found.select(wanted)

    def count_unreleased(self, chosen: Chosen) -> int:
        """How many of the chosen rows are withheld, and not released. Raises: as `read`."""
        return int(self.read(chosen, [RELEASED_AT])[RELEASED_AT].null_count)

    @property
    def columns(self) -> tuple[str, ...]:
        """In the order of a new table. The ones that prune files stand first."""
        own = (*self.view.join_keys, EVENT, CREATED, AVAILABLE, INTERVAL, RUN_ID, *MARKS, REASONS)
        return (*own, *(f.name for f in self.view.features))

    def _inside(self, chosen: Chosen) -> "pc.Expression":
        import pyarrow.compute as pc

        kept = pc.scalar(True)
        if chosen.start is not None:
            kept = kept & (pc.field(INTERVAL) > arrow_scalar("start", chosen.start, DType.TIMESTAMP))
        if chosen.end is not None:
            kept = kept & (pc.field(INTERVAL) <= arrow_scalar("end", chosen.end, DType.TIMESTAMP))
        if chosen.ends is not None:
            kept = kept & pc.field(INTERVAL).isin(to_arrow(chosen.ends, DType.TIMESTAMP))
        return kept

    def _keyed(self, chosen: Chosen) -> "pc.Expression":
        import pyarrow.compute as pc

        if chosen.keys is None:
            return pc.scalar(True)
        any_key = pc.scalar(False)
        for key in chosen.keys:
            this_key = pc.scalar(True)
            for name, value in key.items():
                this_key = this_key & (pc.field(name) == arrow_scalar(name, value, self.view.join_keys[name]))
            any_key = any_key | this_key
        return any_key

    def _open(self) -> "DeltaTable | None":
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return DeltaTable(native_uri(self.path))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as exc:
            raise StorageError(f"cannot read the quarantine at {self.path}: {first_line(exc)}") from exc


def arrow_scalar(name: str, value: Any, dtype: DType) -> "pa.Scalar":
    """A value of a join key in Arrow. Raises: UsageError: it is none of its type."""
    import pyarrow as pa

    try:
        return to_arrow([value], dtype)[0]
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as exc:
        raise UsageError(f"{name}={value!r} is not of type {dtype}") from exc
