"""One finding."""

from dataclasses import dataclass

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that is wrong.

    severity: "error", which makes jobs fail or answers wrong, or "warning". kind: in two or three words, such as
    "stuck run". where: a view version, path, table, run or package. what: is the matter. fix: the command or step that
    mends it. fixed: whether it was mended just now.
    """

    severity: str
    kind: str
    where: str
    what: str
    fix: str
    fixed: bool = False
