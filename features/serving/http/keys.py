"""API keys: who may ask, for which services, until when. Kept as hashes; a file of them is read again as it changes."""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from features.config import ServingKey, ServingSettings
from features.errors import ConfigError
from features.serving.http.refusals import RefusedRequestError

logger = logging.getLogger(__name__)

# How long a key that was withdrawn may still pass.
_LOOK_SECONDS = 2.0
_LIST = TypeAdapter(tuple[ServingKey, ...])


def make_key() -> tuple[str, str]:
    """A new key, of 256 random bits, and its SHA-256, which is what to keep."""
    key = f"fs_{secrets.token_urlsafe(32)}"
    return key, hash_key(key)


def hash_key(key: str) -> str:
    """The SHA-256 of a key, in hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: str | Path) -> tuple[ServingKey, ...]:
    """The keys of a file: YAML, a list of name, sha256, services and expires.

    Raises: ConfigError: it cannot be read, or holds something else.
    """
    try:
        return _LIST.validate_python(yaml.safe_load(Path(path).read_text(encoding="utf-8")) or ())
    except OSError as exc:
        raise ConfigError(f"serving.keys_file {path} cannot be read: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"serving.keys_file {path} is not valid YAML") from exc
    except ValidationError as exc:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_input=False))
        raise ConfigError(f"serving.keys_file {path}: {reasons}") from exc
    except ValueError as exc:
        # YAML knows times, and does not check them.
        raise ConfigError(f"serving.keys_file {path} is not valid YAML: {exc}") from exc


class KeyRing:
    """The keys of the settings and of their file. Without either, anybody may ask for anything.

    clock: judges expiry. Raises: ConfigError: as `read_keys`.
    """

    def __init__(self, settings: ServingSettings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._clock = clock
        self._file = None if settings.keys_file is None else Path(settings.keys_file)
        self._looked, self._stamp = time.monotonic(), self._file_stamp()
        self._keys = self._read()

    @property
    def is_open(self) -> bool:
        """Whether no key is needed: none is configured. An empty file keeps everybody out."""
        return self._file is None and not self._settings.keys

    def identify(self, presented: str | None) -> ServingKey | None:
        """Whose key that is; None where none is needed.

        Raises: RefusedRequestError: 401: there is none, or it is unknown or expired; which of these, nobody is told.
        """
        if self.is_open:
            return None
        self._look()
        found = self._find(presented) if presented else None
        if found is None or (found.expires is not None and self._clock() >= found.expires):
            raise RefusedRequestError(
                401,
                "a valid API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY",
                {"www-authenticate": "Bearer"},
            )
        return found

    def _find(self, presented: str) -> ServingKey | None:
        digest = hash_key(presented)
        found = None
        for key in self._keys:
            # All are compared, each in constant time: how long it takes tells nothing.
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

    def _look(self) -> None:
        """Read the file again if it has changed; what cannot be read leaves the keys as they were."""
        if self._file is None or time.monotonic() < self._looked + _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        stamp = self._file_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = self._read()
        except ConfigError as exc:
            logger.error("keys are left as they were", extra={"why": str(exc)})
        else:
            logger.info("keys were read again", extra={"keys": len(self._keys)})

    def _read(self) -> tuple[ServingKey, ...]:
        return (*self._settings.keys, *(() if self._file is None else read_keys(self._file)))

    def _file_stamp(self) -> tuple[int, int, int] | None:
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def check_scope(key: ServingKey | None, features: str | Sequence[str]) -> None:
    """That a key may ask for these features: a service of its own, any version of it.

    Raises: RefusedRequestError: 403, whether such a service exists or not.
    """
    if key is None or key.services == "*":
        return
    if not isinstance(features, str) or features.partition("@")[0] not in key.services or ":" in features:
        allowed = ", ".join(key.services) or "none"
        raise RefusedRequestError(403, f"this API key may ask for these feature services alone: {allowed}")
