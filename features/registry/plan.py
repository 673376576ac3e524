"""A plan: what applying the definitions in code would change in the registry, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.core.times import format_instant

CHANGE_KINDS = ("create", "new version", "update in place", "restore", "remove")
_MINUTE, _HOUR = 60, 3_600
_MARKS = {"create": "+", "new version": "~", "update in place": ".", "restore": "^", "remove": "-"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillOffer:
    """The range over which the version before was built, for the one that is current afterwards.

    of: the version before. intervals: of the schedule that the view will have. seconds, rows: what building them takes,
    by the runs of the version before; None: none of them tells.
    """

    view: str
    of: int
    start: datetime
    end: datetime
    intervals: int
    seconds: float | None = None
    rows: int | None = None

    @property
    def command(self) -> str:
        """What to type, once it is applied."""
        start, end = format_instant(self.start), format_instant(self.end)
        return f"features backfill {self.view} --start {start} --end {end}"

    @property
    def cost(self) -> str:
        """In words."""
        count = f"{self.intervals:,} interval{'s' if self.intervals != 1 else ''}"
        if self.seconds is None:
            return count
        return f"{count}, about {_duration(self.seconds)} and {self.rows:,} rows by the runs of version {self.of}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "of": self.of,
            "start": format_instant(self.start),
            "end": format_instant(self.end),
            "intervals": self.intervals,
            "seconds": self.seconds,
            "rows": self.rows,
            "command": self.command,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of one feature view or feature service.

    kind: one of CHANGE_KINDS. object: "feature view" or "feature service". version: that is current afterwards.
    details: what changed, in words; for a new version, what needs it. also: what changes in place on the way.
    next_steps: what follows from it, or remains to be done. consumers: who notices, and how. backfill: of a version
    that lacks what the one before it holds.
    """

    kind: str
    object: str
    name: str
    version: int
    details: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    backfill: BackfillOffer | None = None

    def __str__(self) -> str:
        lines = [f"{_MARKS[self.kind]} {self.object} {self.name}: {self.headline}"]
        lines += [f"    {detail}" for detail in self.details]
        lines += [f"    in place: {detail}" for detail in self.also]
        lines += [f"    ! {consumer}" for consumer in self.consumers]
        lines += [f"    -> {step}" for step in self.next_steps]
        lines += [f"    -> that backfill: {self.backfill.cost}"] if self.backfill else []
        return "\n".join(lines)

    @property
    def headline(self) -> str:
        """What becomes of it."""
        if self.kind == "new version":
            return f"new version {self.version}, because"
        if self.kind == "restore":
            return f"version {self.version} becomes current again"
        return f"{self.kind}, version {self.version}"

    def to_dict(self) -> dict[str, Any]:
        """The change as plain values, for JSON."""
        return {
            "kind": self.kind,
            "object": self.object,
            "name": self.name,
            "version": self.version,
            "details": list(self.details),
            "also": list(self.also),
            "next_steps": list(self.next_steps),
            "consumers": list(self.consumers),
            "backfill": None if self.backfill is None else self.backfill.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes, feature views first, by name."""

    changes: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the registry already holds what the code defines."""
        return not self.changes

    def __str__(self) -> str:
        if self.is_empty:
            return "Nothing to do: the registry holds what the code defines."
        return "\n".join([*map(str, self.changes), f"Plan: {self.summary}."])

    @property
    def summary(self) -> str:
        """How many changes there are of each kind."""
        counts = {kind: sum(c.kind == kind for c in self.changes) for kind in CHANGE_KINDS}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)

    def to_markdown(self, *, against: str | None = None) -> str:
        """The plan for a pull request. against: the environment that it was compared with."""
        where = f" against `{against}`" if against else ""
        if self.is_empty:
            return f"## Feature plan{where}\n\nNothing to do: the registry holds what the code defines.\n"
        rows = [("change", "of", "version", "backfill"), ("---",) * 4]
        rows += [
            (c.kind, f"{c.object} `{c.name}`", str(c.version), c.backfill.cost if c.backfill else "")
            for c in self.changes
        ]
        lines = [f"## Feature plan{where}: {self.summary}", "", *(f"| {' | '.join(row)} |" for row in rows)]
        for change in self.changes:
            lines += ["", *_markdown(change)]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values, for JSON."""
        return {"is_empty": self.is_empty, "changes": [change.to_dict() for change in self.changes]}


def _markdown(change: Change) -> Iterator[str]:
    yield f"### {change.object} `{change.name}`: {change.headline}"
    parts = {"": change.details, "Changed in place:": change.also, "Who notices:": change.consumers}
    for title, texts in {**parts, "Then:": change.next_steps}.items():
        if texts:
            yield from ("", title) if title else ("",)
            yield from (
                f"- {_escape(text)}" for text in texts if not (change.backfill and change.backfill.command in text)
            )
    if change.backfill:
        yield from ("", f"Backfill of what version {change.backfill.of} holds, {change.backfill.cost}:")
        yield from ("```sh", change.backfill.command, "```")


def _escape(text: str) -> str:
    """Text that Markdown shows as it is: names have underscores, and patterns have stars."""
    return "".join(f"\\{letter}" if letter in r"\`*_<[]|" else letter for letter in text)


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
