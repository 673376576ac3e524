"""What protects an embedded node: passwords, TLS, and certificates that clients must show.

On loopback it keeps nobody out who has this user's files: it is for meeting here what a team's cluster demands.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from features.errors import PlatformError, UsageError

# The role that Cassandra makes where there is none: its name and password.
FIRST_ROLE = ("cassandra", "cassandra")


@dataclass(frozen=True, kw_only=True, slots=True)
class Security:
    """What a node demands of its clients. By default nothing.

    Attributes:
        passwords: clients log in, and may do what their role was granted. A new node knows one role, `cassandra` with
            the password `cassandra`, which may do all.
        tls: clients must encrypt; the node's authority and a client's certificate are in the folder `tls` beside it.
        client_certificates: clients must also show a certificate of that authority.

    Raises:
        UsageError: certificates of clients without TLS.
    """

    passwords: bool = False
    tls: bool = False
    client_certificates: bool = False

    def __post_init__(self) -> None:
        if self.client_certificates and not self.tls:
            raise UsageError("certificates of clients are shown over TLS: ask for both")

    def __str__(self) -> str:
        """In words, such as "passwords and TLS"."""
        tls = "TLS with client certificates" if self.client_certificates else "TLS"
        return " and ".join(["passwords"] * self.passwords + [tls] * self.tls) or "neither passwords nor TLS"


OPEN = Security()


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificates:
    """Paths of PEM files below one folder. Each but `ca` holds a key, and behind it its certificate."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate: what clients trust, `online.tls.ca_file`."""
        return self.folder / "ca.pem"

    @property
    def authority(self) -> Path:
        """The authority itself, with which anybody could make certificates."""
        return self.folder / "authority.pem"

    @property
    def server(self) -> Path:
        """What nodes show."""
        return self.folder / "server.pem"

    @property
    def client(self) -> Path:
        """What a client shows, `online.tls.cert_file`."""
        return self.folder / "client.pem"

    def client_context(self) -> ssl.SSLContext:
        """Trusts the authority and shows the client's certificate. Raises: OSError: files are missing."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca))
        context.load_cert_chain(self.client)
        return context


def make_certificates(paths: Certificates, hosts: Sequence[str]) -> None:
    """Makes what is missing, about to expire, or lacks one of the hosts.

    Raises:
        PlatformError: the package `cryptography` is not installed.
    """
    try:
        from features.embedded.certificates import ensure_certificates
    except ModuleNotFoundError as exc:
        if exc.name != "cryptography":
            raise
        raise PlatformError(
            "certificates need the package cryptography: pip install 'feature-platform[embedded]'"
        ) from exc
    ensure_certificates(paths, hosts)


def security_options(security: Security, certificates: Certificates) -> dict[str, object]:
    """The settings of cassandra.yaml that demand it."""
    options: dict[str, object] = {}
    if security.passwords:
        # Roles are replicated like data; each node asks again after this long, so a changed password counts from then.
        validity = {f"{what}_validity": "1s" for what in ("roles", "permissions", "credentials")}
        options |= {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer", **validity}
    if security.tls:
        options["client_encryption_options"] = {
            "enabled": True,
            "optional": False,
            "require_client_auth": security.client_certificates,
            "accepted_protocols": ["TLSv1.2", "TLSv1.3"],
            "ssl_context_factory": {
                "class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory",
                "parameters": {},
            },
            "keystore": str(certificates.server),
            "truststore": str(certificates.ca),
        }
    return options
