"""The bytes of a real server are met in tests/integration; here are servers that are none."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from features.embedded.cql_probe import answers_cql, logs_in


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    """Answers the first client with these bytes, whatever it asks, and closes; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


SUPPORTED = bytes([0x84, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0])


def test_supported_options_are_an_answer() -> None:
    with server(SUPPORTED) as port:
        assert answers_cql("127.0.0.1", port)


@pytest.mark.parametrize(
    "answer",
    [b"", SUPPORTED[:5], SUPPORTED[:-1], b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes([0x84, 0, 0, 0, 0, 0, 0, 0, 0])],
)
def test_what_is_no_answer_of_a_ready_cql_server_is_told_apart(answer: bytes) -> None:
    with server(answer) as port:
        assert not answers_cql("127.0.0.1", port)


def test_a_port_where_nobody_listens_answers_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert not answers_cql("127.0.0.1", port)
        assert not logs_in("127.0.0.1", port, "cassandra", "cassandra")


def test_a_server_that_says_ready_at_once_lets_everybody_in() -> None:
    with server(bytes([0x84, 0, 0, 0, 2, 0, 0, 0, 0])) as port:
        assert logs_in("127.0.0.1", port, "cassandra", "cassandra")
