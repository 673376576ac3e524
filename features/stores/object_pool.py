"""Files kept by the SHA-256 of their content: the same content once, and whatever is there is what its name says."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from features.errors import StorageError
from features.stores.filesystems import OpenFolder

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

_CHUNK = 8 * 2**20
_OBJECTS, _PARTS = "objects", "parts"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectPool:
    """A folder of such files, `objects/<two digits>/<sha256>`. A file appears there when it is whole."""

    folder: OpenFolder

    @classmethod
    def open(cls, path: str) -> "ObjectPool":
        """Raises: StorageError: the scheme is unknown."""
        return cls(folder=OpenFolder.open(path))

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by its SHA-256."""
        return {info.base_name: info.size for info in list_files(self.folder, self._path(_OBJECTS))}

    def put(self, source: OpenFolder, path: str) -> str:
        """Keep a copy of a file; its SHA-256. path: in the source's file system."""
        part = self._path(f"{_PARTS}/{uuid4().hex}")
        with told(f"copying {path} to {self.folder.path}"):
            self._make_folder(part)
            digest = _copy(source, path, self.folder, part)
            self._make_folder(self._object(digest))
            self.folder.filesystem.move(part, self._object(digest))
        return digest

    def put_text(self, lines: Iterator[str]) -> tuple[str, int]:
        """Keep lines as a file; its SHA-256 and bytes."""
        part, digest, size = self._path(f"{_PARTS}/{uuid4().hex}"), hashlib.sha256(), 0
        with told(f"writing to {self.folder.path}"):
            self._make_folder(part)
            with self.folder.filesystem.open_output_stream(part) as stream:
                for line in lines:
                    encoded = f"{line}\n".encode()
                    digest.update(encoded)
                    size += len(encoded)
                    stream.write(encoded)
            self._make_folder(self._object(digest.hexdigest()))
            self.folder.filesystem.move(part, self._object(digest.hexdigest()))
        return digest.hexdigest(), size

    def lines(self, digest: str) -> Iterator[str]:
        """The lines of a file."""
        with (
            told(f"reading {self.folder.path}"),
            self.folder.filesystem.open_input_stream(self._object(digest)) as stream,
        ):
            rest = b""
            while block := stream.read(_CHUNK):
                *whole, rest = (rest + block).split(b"\n")
                yield from (line.decode() for line in whole)
            if rest:
                yield rest.decode()

    def get(self, digest: str, target: OpenFolder, path: str) -> None:
        """Write a file's content at a path in the target's file system, whole or not at all.

        Raises: StorageError: it is not what was put; nothing is left at the path.
        """
        passing = f"{path}.{uuid4().hex}.part"
        with told(f"copying to {target.path}"):
            make_folder(target, path)
            try:
                if _copy(self.folder, self._object(digest), target, passing) != digest:
                    raise StorageError(
                        f"{self._object(digest)} is damaged: its content has another SHA-256 than its name"
                    )
                target.filesystem.move(passing, path)
            except BaseException:
                with suppress(OSError):
                    target.filesystem.delete_file(passing)
                raise

    def path_of(self, digest: str) -> str:
        """Where a file lies, or would, in the folder's file system."""
        return self._object(digest)

    def is_sound(self, digest: str) -> bool:
        """Whether a file is there, with the content that was put."""
        try:
            return sha256_of(self.folder, self._object(digest)) == digest
        except StorageError:
            return False

    def keep_only(self, digests: set[str]) -> int:
        """Remove all other files, and what killed copies left; how many."""
        with told(f"tidying {self.folder.path}"):
            others = [
                info.path
                for part in (_OBJECTS, _PARTS)
                for info in list_files(self.folder, self._path(part))
                if part == _PARTS or info.base_name not in digests
            ]
            for path in others:
                self.folder.filesystem.delete_file(path)
        return len(others)

    def _object(self, digest: str) -> str:
        return self._path(f"{_OBJECTS}/{digest[:2]}/{digest}")

    def _path(self, name: str) -> str:
        return f"{self.folder.inner}/{name}"

    def _make_folder(self, path: str) -> None:
        make_folder(self.folder, path)


def list_files(folder: OpenFolder, path: str) -> "list[FileInfo]":
    """All files below a path of a folder's file system; none where it does not exist."""
    from pyarrow.fs import FileSelector, FileType

    with told(f"listing {path}"):
        found = folder.filesystem.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    return [info for info in found if info.type == FileType.File]


def sha256_of(folder: OpenFolder, path: str) -> str:
    """Of a file's content. path: in the folder's file system. Raises: StorageError: it cannot be read."""
    found = hashlib.sha256()
    with told(f"reading {path}"), folder.filesystem.open_input_stream(path) as stream:
        while block := stream.read(_CHUNK):
            found.update(block)
    return found.hexdigest()


def make_folder(folder: OpenFolder, path: str) -> None:
    """Make the folder that a path lies in."""
    folder.filesystem.create_dir(path.rpartition("/")[0], recursive=True)


@contextmanager
def told(doing: str) -> Iterator[None]:
    """What a file system raises inside the block, as a StorageError."""
    try:
        yield
    except OSError as exc:
        raise StorageError(f"{doing} failed: {exc}; run it again") from exc


def _copy(source: OpenFolder, path: str, target: OpenFolder, into: str) -> str:
    digest = hashlib.sha256()
    with source.filesystem.open_input_stream(path) as reading, target.filesystem.open_output_stream(into) as writing:
        while block := reading.read(_CHUNK):
            digest.update(block)
            writing.write(block)
    return digest.hexdigest()
