"""What a join will read at most, told before it starts."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewEstimate:
    """One view of a join: the files of its log that can hold something anyone sees, their bytes and rows.

    partitions: tasks that read them. engine: "native" or "spark".
    """

    view: str
    engine: str
    files: int
    bytes: int
    rows: int
    partitions: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A join: rows of the spine, and what is read for it of each view, at most."""

    spine_rows: int
    views: tuple[ViewEstimate, ...]

    def __str__(self) -> str:
        lines = [f"{self.spine_rows:,} rows of the spine"]
        for view in self.views:
            lines.append(
                f"  {view.view}: at most {view.files} files, {view.bytes / 1e6:,.1f} MB, {view.rows:,} rows, "
                f"in {view.partitions} tasks ({view.engine})"
            )
        return "\n".join(lines)
