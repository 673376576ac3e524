from ssl import SSLEOFError, SSLError

import pytest
from cassandra import AuthenticationFailed, InvalidRequest, OperationTimedOut, ReadTimeout, Unavailable
from cassandra.cluster import NoHostAvailable

from features.config import OnlineSettings, TlsSettings
from features.errors import OnlineStoreError
from features.stores.cassandra_session import connect, explain

LOCAL = OnlineSettings(port=9999)
REMOTE = OnlineSettings(hosts=("cassandra-1.example.com", "10.0.0.2"), username="reader", consistency="QUORUM")


TLS_ONLY = OnlineSettings(tls=TlsSettings())
WITH_CERTIFICATE = OnlineSettings(tls=TlsSettings(cert_file="client.pem"))


def during_tls(text):
    """As the driver tells an error of OpenSSL: the address, then its words."""
    return NoHostAvailable(
        "", {"127.0.0.1": OSError(1, f"Tried connecting to [('127.0.0.1', 9042)]. Last error: {text}")}
    )


@pytest.mark.parametrize(
    ("settings", "error", "parts"),
    [
        (
            TLS_ONLY,
            during_tls(
                "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"
            ),
            ["shows a certificate that is not trusted (self-signed certificate)", "online.tls.ca_file"],
        ),
        (
            TLS_ONLY,
            during_tls("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"),
            ["does not speak TLS there (wrong version number)", "remove online.tls"],
        ),
        (
            WITH_CERTIFICATE,
            NoHostAvailable(
                "", {"127.0.0.1": SSLError(1, "[SSL: TLSV1_ALERT_INTERNAL_ERROR] internal error (_ssl.c:2580)")}
            ),
            ["refuses TLS (internal error)", "that it trusts signed online.tls.cert_file"],
        ),
        (
            TLS_ONLY,
            NoHostAvailable("", {"127.0.0.1": SSLEOFError(8, "EOF occurred in violation of protocol (_ssl.c:2427)")}),
            ["ends the connection", "certificates of clients, set online.tls.cert_file"],
        ),
        (
            LOCAL,
            NoHostAvailable("", {"127.0.0.1": ConnectionResetError(104, "Connection reset by peer")}),
            ["ends the connection", "TLS, set online.tls;"],
        ),
        (
            LOCAL,
            NoHostAvailable("", {"127.0.0.1:9999": ConnectionRefusedError(111, "Connection refused")}),
            ["127.0.0.1:9999 does not answer", "Connection refused", "`features cassandra start`"],
        ),
        (
            REMOTE,
            NoHostAvailable("", {"10.0.0.2": OperationTimedOut()}),
            ["cassandra-1.example.com:9042, 10.0.0.2:9042 does not answer: timed out", "check online.hosts"],
        ),
        (REMOTE, NoHostAvailable("", {}), ["does not answer", "online.datacenter"]),
        (
            REMOTE,
            NoHostAvailable("", {"10.0.0.2": AuthenticationFailed("bad credentials")}),
            ["refuses user 'reader'", "bad credentials", "online.password_env"],
        ),
        (REMOTE, InvalidRequest("unconfigured table spend__v1"), ["unconfigured table", "`features apply`"]),
        (REMOTE, InvalidRequest("keyspace features does not exist"), ["does not exist", "`features apply`"]),
        (REMOTE, InvalidRequest("Key may not be empty"), ["refuses the statement: ", "Key may not be empty"]),
        (
            REMOTE,
            Unavailable("too few", consistency=4, required_replicas=2, alive_replicas=1),
            ["too few live replicas for consistency QUORUM"],
        ),
        (REMOTE, ReadTimeout("replicas timed out"), ["ReadTimeout", "replicas timed out"]),
    ],
)
def test_each_failure_says_where_what_and_what_to_do(settings, error, parts):
    message = str(explain(error, settings))

    for part in parts:
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("hosts", [("no..name",), ("no..name", "name.invalid")])
def test_names_that_are_none_are_told(hosts):
    with pytest.raises(OnlineStoreError, match=r"no address is known for any of no\.\.name:9042.*online\.hosts"):
        connect(OnlineSettings(hosts=hosts, port=9042, timeout_seconds=2))
