"""Files by path or URI, wherever they lie: read and written by tasks, without the JVM."""

from typing import TYPE_CHECKING

from features.errors import StorageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

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
