"""`features cassandra` as far as it starts nothing; what it starts is in tests/integration."""

import json
from pathlib import Path

import pytest

from tests.projects import Project

CASSANDRA = ("--set", "online.type=cassandra", "--set", "online.embedded=true")


def write_cluster(folder: Path, *hosts: str) -> None:
    folder = folder / ".state/cassandra-cluster"
    folder.mkdir(parents=True)
    (folder / "cluster.json").write_text(json.dumps({"hosts": hosts, "port": 9042, "storage_port": 7000}))


def test_status_of_one_node_says_where_it_would_listen_and_what_it_would_demand(project: Project) -> None:
    secured = ("--set", "online.username=features_reader", "--set", "online.tls.ca_file=.state/cassandra/tls/ca.pem")

    found = project.run("cassandra", "status", "--json", *CASSANDRA, *secured).data

    assert (found["running"], found["host"], found["jmx_port"]) == (False, "127.0.0.1", 0)
    assert found["security"] == {"passwords": True, "tls": True, "client_certificates": False}
    assert found["certificates"]["folder"].endswith(".state/cassandra/tls")


def test_status_of_a_cluster_has_every_node(project: Project) -> None:
    write_cluster(project.folder, "127.0.0.1", "127.0.0.2")

    outcome = project.run("cassandra", "status", *CASSANDRA)

    assert outcome.code == 0
    assert [line.split(";")[1].split(",")[0] for line in outcome.out.splitlines()] == [
        " it would listen on 127.0.0.1:9042",
        " it would listen on 127.0.0.2:9042",
    ]
    assert len(project.run("cassandra", "status", "--json", *CASSANDRA).data["nodes"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("start", "--client-certificates", "--no-tls"), "over TLS"),
        (("start", "--nodes", "0"), "1 to 9 nodes"),
        (("start", "--nodes", "two"), "invalid int value"),
        (("roles", "--admin", "cassandra", "--admin-password-env", "NOT_SET_ANYWHERE"), "FEATURES_READER_PASSWORD"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(
    project: Project, words: tuple[str, ...], message: str
) -> None:
    outcome = project.run("cassandra", *words, *CASSANDRA)

    assert outcome.code == 2
    assert message in outcome.err
    assert not (project.folder / ".state/cassandra").exists()
