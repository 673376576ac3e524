import pytest
from cassandra import AuthenticationFailed, InvalidRequest, OperationTimedOut, ReadTimeout, Unavailable
from cassandra.cluster import NoHostAvailable

from features.config import OnlineSettings
from features.stores.cassandra_session import explain

LOCAL = OnlineSettings(port=9999)
REMOTE = OnlineSettings(hosts=("cassandra-1.example.com", "10.0.0.2"), username="reader", consistency="QUORUM")


@pytest.mark.parametrize(
    ("settings", "error", "parts"),
    [
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
