"""The manifest of a saved training set: all that says what it holds, and all that a rebuild takes."""

import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from features.core.times import format_instant
from features.engine.as_of import Pin
from features.errors import RegistryError
from features.registry import StoredManifest

# What the content of a manifest looks like, and how its hash is computed; docs/training-sets.md lists it.
CONTENT_VERSION = 2
_LIBRARIES = ("pyspark", "delta-spark", "deltalake", "pyarrow", "numpy", "pandas")
_GIT_SECONDS = 10
# What every manifest holds, of whichever release; and what one of this release holds too, which a rebuild takes.
_FIELDS = ("content_hash", "rows", "path", "spine_path", "known_at", "columns", "views")
_REBUILD_FIELDS = (
    "kind", "references", "features", "service", "as_of", "full_feature_names", "on_demand", "spine_hash",
    "spine_columns", "spine_files", "files", "statistics", "schema", "code", "versions",
)  # fmt: skip
_RANGE_FIELDS = ("start", "end", "at")
_LISTS = {
    "views": ("view", "definition_hash", "position", "features"),
    "on_demand": ("view", "definition_hash"),
    "files": ("path",),
    "spine_files": ("path",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What pins a saved training set.

    path: of the set's files; format: "parquet" or "delta". spine_path: of the spine's files, always Parquet. rows: of
    both. columns: the features'. held: whether what a rebuild needs is kept from retention and drops.
    erasure: the last that removed rows of an entity; the set is then what is left, the content hash that of what was
    saved, and it cannot be rebuilt. None: it holds what was saved.
    content: all of it, as plain JSON values; docs/training-sets.md lists them.
    """

    name: str
    number: int
    content_hash: str
    rows: int
    format: str
    path: str
    spine_path: str
    known_at: str
    columns: tuple[str, ...]
    held: bool
    created_at: str
    erasure: str | None
    content: Mapping[str, Any]

    @property
    def reference(self) -> str:
        """`name@number`."""
        return f"{self.name}@{self.number}"

    @property
    def parts(self) -> Mapping[str, int]:
        """Rows by part of the split; none where there is no split. Rows of no part are in none of them."""
        return dict((self.content.get("splits") or {}).get("rows", {}))

    def files(self, part: str | None = None) -> tuple[str, ...]:
        """Paths of the set's files, or of those of one part of its split."""
        chosen = (f for f in self.content["files"] if part is None or f.get("part") == part)
        return tuple(f"{self.path}/{f['path']}" for f in chosen)


def manifest_of(stored: StoredManifest) -> Manifest:
    """The manifest in a registry's entry. Raises: RegistryError: the entry was damaged."""
    content = stored.content
    _check_fields(stored, _FIELDS)
    return Manifest(
        name=stored.name,
        number=stored.number,
        content_hash=content["content_hash"],
        rows=content["rows"],
        format=content.get("format", "parquet"),
        path=content["path"],
        spine_path=content["spine_path"],
        known_at=content["known_at"],
        columns=tuple(content["columns"]),
        held=stored.held,
        created_at=format_instant(stored.created_at),
        erasure=stored.erasure,
        content=content,
    )


def check_complete(stored: StoredManifest) -> None:
    """That an entry of this release holds what a rebuild takes. Raises: RegistryError: it was damaged."""
    ranged = _RANGE_FIELDS if stored.content.get("kind") == "rows" else ()
    _check_fields(stored, (*_FIELDS, *_REBUILD_FIELDS, *ranged))


def _check_fields(stored: StoredManifest, fields: tuple[str, ...]) -> None:
    content = stored.content
    missing = [field for field in fields if field not in content]
    for field in _LISTS.keys() & content.keys() & set(fields):
        listed = content[field]
        if not isinstance(listed, list) or not all(isinstance(item, Mapping) for item in listed):
            missing.append(f"a list in {field}")
        else:
            missing += [f"{key} in {field}" for key in _LISTS[field] if any(key not in item for item in listed)]
    if missing:
        raise RegistryError(
            f"the registry's entry of {stored.reference} was damaged: it lacks {', '.join(sorted(missing))}; restore "
            "it from a backup of the registry, or save the set again"
        )


def pinned_view(pin: Pin) -> dict[str, Any]:
    """Where a view was read, as a manifest holds it."""
    return {
        "view": pin.selection.view.reference,
        "definition_hash": pin.selection.view.definition_hash,
        "position": pin.position,
        "delta_version": None if pin.snapshot is None else pin.snapshot.version,
        "features": [f.name for f in pin.selection.features],
        "columns": list(pin.selection.columns),
    }


def library_versions() -> dict[str, str]:
    """Python, this package and the libraries that values go through, by name."""
    return {"python": platform.python_version(), **dict(_versions(("feature-platform", *_LIBRARIES)))}


def code_version(package: str) -> dict[str, Any]:
    """Which commit of its git repository the views package was at, and whether anything in it was changed since.

    commit and modified are None where the package lies in no repository, or there is no git.
    """
    found = find_spec(package)
    folder = next(iter(found.submodule_search_locations or ()), None) if found is not None else None
    commit = _git(folder, "rev-parse", "HEAD") if folder else None
    changes = _git(folder, "status", "--porcelain", "--", ".") if folder and commit else None
    return {"package": package, "commit": commit, "modified": None if changes is None else bool(changes)}


def _versions(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            # Run from a checkout that is not installed, or without a library that a set does not need.
            continue


def _git(folder: str, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *words], capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
