import ssl
from pathlib import Path

import pytest

from features.config import OnlineSettings, TlsSettings
from features.embedded.certificates import ensure_certificates
from features.embedded.security import Certificates
from features.errors import ConfigError
from features.stores.tls import client_context


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    paths = Certificates(folder=tmp_path_factory.mktemp("tls"))
    ensure_certificates(paths, ["127.0.0.1"])
    return paths


def settings(**tls: object) -> OnlineSettings:
    return OnlineSettings(tls=TlsSettings(**tls))


def test_without_tls_settings_connections_are_plain():
    assert client_context(OnlineSettings()) is None


def test_only_the_named_authority_is_trusted_and_addresses_are_verified(paths):
    context = client_context(settings(ca_file=str(paths.ca)))

    assert [dict(pair[0] for pair in ca["subject"])["commonName"] for ca in context.get_ca_certs()] == [
        "authority of the embedded Cassandra"
    ]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_address_that_is_not_verified_still_needs_a_trusted_certificate(paths):
    context = client_context(settings(ca_file=str(paths.ca), verify_hostname=False))

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, r"online\.tls\.ca_file /nowhere/ca\.pem cannot be read: No such file"),
        ({"cert_file": "/nowhere/client.pem"}, r"online\.tls\.cert_file .* cannot be read"),
        ({"cert_file": "CLIENT", "key_file": "/nowhere/client.key"}, r"online\.tls\.key_file .* cannot be read"),
        ({"ca_file": "TEXT"}, r"online\.tls\.ca_file .* no certificates in PEM"),
        ({"cert_file": "CA"}, r"online\.tls\.cert_file .* no certificate and its unencrypted key"),
        (
            {"cert_file": "CA", "key_file": "CLIENT"},
            r"online\.tls\.cert_file .* no certificate and its unencrypted key",
        ),
    ],
)
def test_files_that_are_not_what_their_setting_says_are_refused_by_name(paths, tmp_path: Path, tls, message):
    text = tmp_path / "text.pem"
    text.write_text("not a certificate")
    names = {"CA": str(paths.ca), "CLIENT": str(paths.client), "TEXT": str(text)}

    with pytest.raises(ConfigError, match=message):
        client_context(settings(**{name: names.get(value, value) for name, value in tls.items()}))


def test_an_encrypted_key_is_refused_rather_than_asked_for_on_a_terminal(paths, tmp_path: Path):
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(paths.client.read_bytes(), password=None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    with pytest.raises(ConfigError, match="unencrypted key"):
        client_context(settings(cert_file=str(paths.client), key_file=str(encrypted)))


def test_a_key_without_a_certificate_makes_no_sense():
    with pytest.raises(ValueError, match="set cert_file too"):
        TlsSettings(key_file="client.key")
