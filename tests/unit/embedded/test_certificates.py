import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from features.embedded import certificates
from features.embedded.certificates import ensure_certificates
from features.embedded.security import Certificates


@contextmanager
def tls_server(paths: Certificates, host: str, *, demand_certificates: bool = False) -> Iterator[int]:
    """A server that shows the nodes' certificate and greets one client; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(paths.ca))
    context.load_cert_chain(paths.server)
    context.verify_mode = ssl.CERT_REQUIRED if demand_certificates else ssl.CERT_NONE
    with socket.create_server((host, 0)) as listening:

        def greet() -> None:
            plain, _ = listening.accept()
            with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
                secure.sendall(b"hello")

        thread = threading.Thread(target=greet)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def greeting(context: ssl.SSLContext, host: str, port: int) -> bytes:
    with socket.create_connection((host, port)) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
        return secure.recv(5)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_clients_accept_every_host_that_was_named_and_show_a_certificate_that_servers_accept(
    tmp_path: Path, host: str
) -> None:
    paths = Certificates(folder=tmp_path / "tls")
    ensure_certificates(paths, ["127.0.0.1", "127.0.0.2"])

    with tls_server(paths, host, demand_certificates=True) as port:
        assert greeting(paths.client_context(), host, port) == b"hello"


def test_a_host_that_was_not_named_is_refused_until_the_certificate_names_it(tmp_path: Path) -> None:
    paths = Certificates(folder=tmp_path)
    ensure_certificates(paths, ["127.0.0.1"])
    trusting = paths.client_context()

    with tls_server(paths, "127.0.0.2") as port, pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.2"):
        greeting(trusting, "127.0.0.2", port)
    ensure_certificates(paths, ["127.0.0.1", "127.0.0.2"])

    # The authority is the same, so a client that trusted it before needs nothing new.
    with tls_server(paths, "127.0.0.2") as port:
        assert greeting(trusting, "127.0.0.2", port) == b"hello"


def test_another_folders_authority_is_not_trusted(tmp_path: Path) -> None:
    paths, others = Certificates(folder=tmp_path / "a"), Certificates(folder=tmp_path / "b")
    ensure_certificates(paths, ["127.0.0.1"])
    ensure_certificates(others, ["127.0.0.1"])

    with tls_server(paths, "127.0.0.1") as port, pytest.raises(ssl.SSLCertVerificationError):
        greeting(others.client_context(), "127.0.0.1", port)


def test_what_is_in_place_stays_and_what_is_about_to_expire_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Certificates(folder=tmp_path)
    files = (paths.ca, paths.authority, paths.server, paths.client)
    ensure_certificates(paths, ["127.0.0.1"])
    first = [path.read_bytes() for path in files]
    ensure_certificates(paths, ["127.0.0.1"])
    assert [path.read_bytes() for path in files] == first

    monkeypatch.setattr(certificates, "_RENEW_BEFORE", certificates._LIFE)
    ensure_certificates(paths, ["127.0.0.1"])

    changed = [path.read_bytes() != before for path, before in zip(files, first, strict=True)]
    assert changed == [False, False, True, True]


def test_an_authority_that_was_written_by_half_is_replaced_with_all_that_it_signed(tmp_path: Path) -> None:
    paths = Certificates(folder=tmp_path)
    ensure_certificates(paths, ["127.0.0.1"])
    before = [path.read_bytes() for path in (paths.ca, paths.server, paths.client)]
    paths.ca.unlink()

    ensure_certificates(paths, ["127.0.0.1"])

    assert not {path.read_bytes() for path in (paths.ca, paths.server, paths.client)} & set(before)
    with tls_server(paths, "127.0.0.1") as port:
        assert greeting(paths.client_context(), "127.0.0.1", port) == b"hello"


def test_keys_are_readable_by_this_user_alone(tmp_path: Path) -> None:
    paths = Certificates(folder=tmp_path / "tls")
    ensure_certificates(paths, ["127.0.0.1"])

    assert (paths.folder.stat().st_mode & 0o077) == 0
    assert [path.stat().st_mode & 0o077 for path in (paths.authority, paths.server, paths.client)] == [0, 0, 0]
