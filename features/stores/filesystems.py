"""Files by path or URI, wherever they lie: read and written by tasks, without the JVM."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from features.errors import StorageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# A store far away answers slowly, and many at once.
_REMOTE_THREADS = 16
# How Spark names a store, and how everyone else does.
_SCHEMES = {"s3a": "s3", "s3n": "s3", "gs": "gcs"}
_NATIVE = ("file", "s3", "gcs", "abfs", "abfss")


def is_native(path: str) -> bool:
    """Whether tasks can open files there by themselves."""
    scheme, separator, _ = path.partition("://")
    return not separator or _SCHEMES.get(scheme, scheme) in _NATIVE


def native_uri(path: str) -> str:
    """The path or URI under the name that readers outside the JVM know it by: s3a:// is s3://."""
    scheme, separator, rest = path.partition("://")
    if not separator:
        return path
    return f"{_SCHEMES.get(scheme, scheme)}://{rest}"


def anywhere(path: str) -> str:
    """The path as every process of the machine finds it: tasks may have working folders of their own. A URI stays."""
    return path if "://" in path else str(Path(path).absolute())


def open_filesystem(path: str) -> "tuple[FileSystem, str]":
    """The file system of a path or URI, and the path in it.

    Credentials and endpoints come from the environment, as the stores' own tools read them (AWS_ACCESS_KEY_ID,
    AWS_ENDPOINT_URL, ...). Raises: StorageError: the scheme is unknown.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in path:
        return LocalFileSystem(), path
    try:
        return FileSystem.from_uri(native_uri(path))  # type: ignore[no-any-return]
    except (pa.ArrowException, OSError) as exc:
        raise StorageError(f"cannot open {path!r}: {exc}; known are paths, and s3, gs and abfss URIs") from exc


def is_local(path: str) -> bool:
    """Whether the path lies on a file system of this machine."""
    return "://" not in path or path.startswith("file://")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenFolder:
    """A folder, or one file, opened once for all that lies in it: a file system of a store holds its connections.

    path: as it was given. filesystem, inner: its file system, and its path in that.
    """

    path: str
    filesystem: "FileSystem"
    inner: str

    @classmethod
    def open(cls, path: str) -> "OpenFolder":
        """Raises: StorageError: the scheme is unknown."""
        filesystem, inner = open_filesystem(path)
        return cls(path=path.rstrip("/"), filesystem=filesystem, inner=inner.rstrip("/"))

    def locate(self, path: str) -> str:
        """The path, in the file system, of a path or URI that lies below, or is, this one's."""
        return f"{self.inner}{path.removeprefix(self.path)}"

    def each(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
        """What some work makes of each item, in order; far away it is done for several at a time."""
        if is_local(self.path):
            yield from map(work, items)
            return
        with ThreadPoolExecutor(_REMOTE_THREADS) as pool:
            # No more than these are waited for when one fails, or nobody asks for the rest.
            for start in range(0, len(items), _REMOTE_THREADS):
                yield from pool.map(work, items[start : start + _REMOTE_THREADS])
