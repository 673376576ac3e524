"""Certificates of embedded nodes and of their clients, signed by an authority made for one folder on this machine.

They are made once, and again where they are about to expire or lack the address of a node. The authority stays, so that
clients need no new file. This module alone needs the package `cryptography`.
"""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from features.embedded.security import Certificates

_AUTHORITY_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=397)
_RENEW_BEFORE = timedelta(days=30)
# A client's clock may be a little behind.
_BACKDATE = timedelta(hours=1)

Key = ec.EllipticCurvePrivateKey
Authority = tuple[x509.Certificate, Key]


def ensure_certificates(paths: Certificates, hosts: Sequence[str]) -> None:
    """Makes the certificates of a folder that are missing, about to expire, or lack one of the hosts.

    Args:
        paths: where; the folder is made with access for this user alone.
        hosts: IP addresses of the nodes; their certificate names them and `localhost`.
    """
    paths.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _load_authority(paths) or _make_authority(paths)
    if not _is_current(paths.server, authority, hosts):
        key, certificate = _issue("embedded Cassandra", authority, [*hosts, "localhost"])
        _write(paths.server, _pem_key(key) + _pem(certificate))
    if not _is_current(paths.client, authority, ()):
        key, certificate = _issue("client of the embedded Cassandra", authority, ())
        _write(paths.client, _pem_key(key) + _pem(certificate))


def _make_authority(paths: Certificates) -> Authority:
    key, certificate = _issue("authority of the embedded Cassandra", None, ())
    _write(paths.authority, _pem_key(key) + _pem(certificate))
    _write(paths.ca, _pem(certificate))
    return certificate, key


def _load_authority(paths: Certificates) -> Authority | None:
    if not (paths.authority.exists() and paths.ca.exists()):
        return None
    content = paths.authority.read_bytes()
    certificate = x509.load_pem_x509_certificate(content)
    key = serialization.load_pem_private_key(content, password=None)
    # A kill between the writing of both leaves clients an older authority.
    published = x509.load_pem_x509_certificate(paths.ca.read_bytes())
    return (certificate, key) if isinstance(key, Key) and published == certificate and _lasts(certificate) else None


def _issue(name: str, authority: Authority | None, hosts: Sequence[str]) -> tuple[Key, x509.Certificate]:
    """A new key with its certificate, signed by the authority; None makes one, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = (authority[0].subject, authority[1]) if authority else (subject, key)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + (_LIFE if authority else _AUTHORITY_LIFE))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_key_usage(signs_certificates=authority is None), critical=True)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return key, builder.sign(signer, hashes.SHA256())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _is_current(path: Path, authority: Authority, hosts: Sequence[str]) -> bool:
    """Whether a file holds a certificate of this authority that lasts and names these hosts."""
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        certificate.verify_directly_issued_by(authority[0])
    except (ValueError, InvalidSignature):
        return False
    named: set[x509.GeneralName] = set()
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            named.update(extension.value)
    return _lasts(certificate) and {_general_name(host) for host in hosts} <= named


def _lasts(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc - datetime.now(UTC) > _RENEW_BEFORE


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """Replaces a file, whole or not at all; only this user may read it."""
    passing = path.with_name(f"{path.name}.{os.getpid()}")
    passing.unlink(missing_ok=True)
    with os.fdopen(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    passing.replace(path)
