"""References to features: `view`, `view:feature`, `view@3:feature`."""

import re
from dataclasses import dataclass

from features.errors import DefinitionError

_NAME = "[a-z][a-z0-9_]*"
_REFERENCE = re.compile(rf"(?P<name>{_NAME})(?:@(?P<version>[1-9][0-9]{{0,99}}))?(?::(?P<feature>{_NAME}))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A view or service, perhaps one version of it, perhaps one feature of it."""

    name: str
    version: int | None = None
    feature: str | None = None

    def __str__(self) -> str:
        version = f"@{self.version}" if self.version is not None else ""
        return f"{self.name}{version}" + (f":{self.feature}" if self.feature is not None else "")


def parse_reference(text: str) -> Reference:
    """Raises: DefinitionError: the text is not of the form name[@version][:feature]."""
    match = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise DefinitionError(f"{text!r} is not a reference; write view, view:feature or view@version:feature")
    version = match["version"]
    return Reference(match["name"], int(version) if version else None, match["feature"])
