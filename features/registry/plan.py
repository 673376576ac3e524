"""A plan: what applying the definitions in code would change in the registry, in words."""

from dataclasses import dataclass
from typing import Any

CHANGE_KINDS = ("create", "new version", "update in place", "restore", "remove")
_MARKS = {"create": "+", "new version": "~", "update in place": ".", "restore": "^", "remove": "-"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of one feature view or feature service.

    kind: one of CHANGE_KINDS. object: "feature view" or "feature service". version: that is current afterwards.
    details: what changed, in words; for a new version, what needs it. also: what changes in place on the way.
    next_steps: what follows from it, or remains to be done.
    """

    kind: str
    object: str
    name: str
    version: int
    details: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{_MARKS[self.kind]} {self.object} {self.name}: {self._headline()}"]
        lines += [f"    {detail}" for detail in self.details]
        lines += [f"    in place: {detail}" for detail in self.also]
        lines += [f"    -> {step}" for step in self.next_steps]
        return "\n".join(lines)

    def _headline(self) -> str:
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
        counts = [
            f"{sum(c.kind == kind for c in self.changes)} {kind}"
            for kind in CHANGE_KINDS
            if any(c.kind == kind for c in self.changes)
        ]
        return "\n".join([*map(str, self.changes), f"Plan: {', '.join(counts)}."])

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values, for JSON."""
        return {"is_empty": self.is_empty, "changes": [change.to_dict() for change in self.changes]}
