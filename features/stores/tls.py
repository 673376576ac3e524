"""The TLS context that clients of the online store connect with, made of settings alone: no driver is needed."""

import re
import ssl
from pathlib import Path

from features.config import OnlineSettings
from features.errors import ConfigError

_ENDED = (ConnectionResetError, BrokenPipeError, EOFError, ssl.SSLEOFError)
_OPENSSL = re.compile(r"\[SSL(?:: (\w+))?\] ?(.*?)\.? \(_ssl\.c")


def client_context(settings: OnlineSettings) -> ssl.SSLContext | None:
    """What to wrap connections in; None where `online.tls` is not set: they are plain.

    Servers must always show a certificate that a trusted authority signed; `verify_hostname` decides whether it must
    name the address too. Files are read here, once: certificates that are replaced count for contexts made later.

    Raises:
        ConfigError: a file is missing, unreadable, or does not hold what its setting says.
    """
    tls = settings.tls
    if tls is None:
        return None
    if tls.ca_file is not None:
        _require_file("online.tls.ca_file", tls.ca_file)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca_file)
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(f"online.tls.ca_file {tls.ca_file} holds no certificates in PEM: {exc}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.verify_hostname
    if tls.cert_file is not None:
        _require_file("online.tls.cert_file", tls.cert_file)
        if tls.key_file is not None:
            _require_file("online.tls.key_file", tls.key_file)
        try:
            # An encrypted key would make OpenSSL ask a terminal for its password, and a server hang on it.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=_refuse_password)
        except (ssl.SSLError, OSError) as exc:
            raise ConfigError(
                f"online.tls.cert_file {tls.cert_file} and key_file {tls.key_file or '(in the same file)'} are no "
                f"certificate and its unencrypted key in PEM: {exc}"
            ) from exc
    return context


def explain_tls(exc: BaseException, settings: OnlineSettings) -> str | None:
    """What a failed connection says about TLS, to follow "Cassandra at ..."; None where it says nothing.

    Judged by its text: the driver keeps no more of OpenSSL's error when it raises its own.
    """
    found = _OPENSSL.search(str(exc))
    if found is None:
        return _explain_end(settings) if isinstance(exc, _ENDED) else None
    reason, detail = found.groups()
    if reason == "CERTIFICATE_VERIFY_FAILED":
        return (
            f"shows a certificate that is not trusted ({detail.removeprefix('certificate verify failed: ')}); check "
            "that online.tls.ca_file signed it and that it names the address, or set verify_hostname to false"
        )
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"):
        return f"does not speak TLS there ({detail}); remove online.tls, or switch TLS on in the server"
    if settings.tls is not None and settings.tls.cert_file is None:
        return f"refuses TLS ({detail}); if it demands certificates of clients, set online.tls.cert_file"
    return f"refuses TLS ({detail}); check that an authority that it trusts signed online.tls.cert_file"


def _explain_end(settings: OnlineSettings) -> str:
    """Servers end a connection without a word where they expect TLS, or a certificate."""
    if settings.tls is None:
        wanted = "TLS, set online.tls"
    elif settings.tls.cert_file is None:
        wanted = "certificates of clients, set online.tls.cert_file"
    else:
        wanted = "another certificate of clients, change online.tls.cert_file"
    return f"ends the connection; if it demands {wanted}; if it has just stopped, start it again"


def _require_file(setting: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except OSError as exc:
        raise ConfigError(f"{setting} {path} cannot be read: {exc.strerror}") from exc


def _refuse_password() -> str:
    return ""
