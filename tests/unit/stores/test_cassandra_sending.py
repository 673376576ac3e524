import threading
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from cassandra import InvalidRequest, OperationTimedOut, WriteTimeout
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy
from cassandra.protocol import OverloadedErrorMessage

from features import DType
from features.stores.cassandra_batches import Batch, batches_of, encode_statements
from features.stores.cassandra_sending import Answer, Sender, Window
from features.stores.cells import encode_column

Script = Callable[[Batch], Exception | None]


def batches(count: int, *, rows: int = 4, verb: str = "put") -> list[Batch]:
    numbers = encode_column(pa.array(range(count * rows)), DType.INT64)
    statements = encode_statements(verb, b"id", [numbers], numbers)
    return list(batches_of(statements, np.zeros(len(numbers), int), max_bytes=28 * rows))


def sender(transport: Callable[[Batch, Answer], None], *, window: Window | None = None) -> Sender:
    return Sender(transport, window=window or Window(), max_bytes=112, patience_seconds=0.05, backoff_seconds=0.01)


def send_all(sender: Sender, sent: list[Batch]) -> None:
    for batch in sent:
        sender.send(batch)
    sender.drain()


def overloaded() -> Exception:
    return OverloadedErrorMessage(code=0x1001, message="too much", info=None)


def busy() -> Exception:
    return NoHostAvailable("no host", {"127.0.0.1": ConnectionBusy("socket is full")})


@pytest.mark.parametrize(
    "error",
    [overloaded(), OperationTimedOut(), WriteTimeout("late", write_type=1), busy()],
    ids=lambda error: type(error).__name__,
)
def test_only_what_failed_is_sent_again(error):
    seen: list[int] = []

    def transport(batch: Batch, answer: Answer) -> None:
        seen.append(batch.first)
        answer(error if seen.count(batch.first) == 1 and batch.first == 8 else None)

    sending = sender(transport)
    send_all(sending, batches(5))

    assert sorted(seen) == [0, 4, 8, 8, 12, 16]
    assert sending.acknowledged == {"put": 20}


def test_a_batch_that_fails_again_and_again_is_given_up_with_its_error_and_what_was_acknowledged_counts():
    seen: list[int] = []

    def transport(batch: Batch, answer: Answer) -> None:
        seen.append(batch.first)
        answer(OperationTimedOut() if batch.first == 4 else None)

    sending = sender(transport)
    with pytest.raises(OperationTimedOut):
        send_all(sending, batches(3))

    assert seen.count(4) == 5
    assert sending.acknowledged == {"put": 8}


def test_a_refusal_ends_it_at_once():
    calls: list[int] = []

    def transport(batch: Batch, answer: Answer) -> None:
        calls.append(batch.first)
        answer(InvalidRequest("unconfigured table t"))

    with pytest.raises(InvalidRequest, match="unconfigured table"):
        send_all(sender(transport), batches(10))

    assert calls == [0]


def test_what_the_driver_raises_while_sending_is_an_answer_too():
    raised: list[int] = []

    def transport(batch: Batch, answer: Answer) -> None:
        if not raised:
            raised.append(batch.first)
            raise busy()
        answer(None)

    sending = sender(transport)
    send_all(sending, batches(2))

    assert sending.acknowledged == {"put": 8}


def test_a_full_socket_is_waited_for_without_counting_as_a_failure_and_not_for_ever():
    calls: list[float] = []

    def transport(batch: Batch, answer: Answer) -> None:
        calls.append(time.monotonic())
        answer(busy())

    with pytest.raises(NoHostAvailable):
        send_all(sender(transport), batches(1))

    # Five failures, each after its patience of 0.05 s.
    assert len(calls) > 5
    assert 0.25 < calls[-1] - calls[0] < 5


def test_a_batch_above_the_servers_bound_is_split_until_it_passes_and_later_ones_are_smaller():
    passed: list[range] = []

    def transport(batch: Batch, answer: Answer) -> None:
        if len(batch) > 1:
            answer(InvalidRequest("Batch too large"))
        else:
            passed.append(range(batch.first, batch.last))
            answer(None)

    sending = sender(transport)
    send_all(sending, batches(2, rows=4))

    assert sorted(at for rows in passed for at in rows) == list(range(8))
    assert sending.acknowledged == {"put": 8}
    assert sending.max_bytes == 28


def test_puts_and_deletes_are_counted_apart():
    sending = sender(lambda batch, answer: answer(None))

    send_all(sending, batches(2, rows=3) + batches(1, rows=2, verb="delete"))

    assert sending.acknowledged == {"put": 6, "delete": 2}


def test_no_more_is_under_way_than_the_window_allows_and_answers_from_other_threads_make_room():
    waiting: list[Answer] = []
    most = 0
    lock = threading.Lock()

    def transport(batch: Batch, answer: Answer) -> None:
        nonlocal most
        with lock:
            waiting.append(answer)
            most = max(most, len(waiting))

    def serve() -> None:
        while not done.wait(0.001):
            with lock:
                answers, waiting[:] = waiting[:], []
            for answer in answers:
                answer(None)

    done = threading.Event()
    server = threading.Thread(target=serve)
    server.start()
    try:
        sending = sender(transport, window=Window(start=3, most=6))
        send_all(sending, batches(100))
    finally:
        done.set()
        server.join()

    assert sending.acknowledged == {"put": 400}
    assert 3 <= most <= 6


def test_what_waits_to_be_repeated_takes_room_too_and_is_repeated():
    open_: set[int] = set()
    refused: set[int] = set()
    most = 0

    def transport(batch: Batch, answer: Answer) -> None:
        nonlocal most
        open_.add(batch.first)
        most = max(most, len(open_))
        if batch.first not in refused:
            refused.add(batch.first)
            answer(overloaded())
            return
        open_.remove(batch.first)
        answer(None)

    sending = sender(transport, window=Window(start=4, most=4))
    send_all(sending, batches(30))

    assert sending.acknowledged == {"put": 120}
    assert most <= 4


def test_a_window_grows_by_one_a_round_up_to_its_bound():
    window = Window(start=2, most=4)

    limits = []
    for _ in range(5):
        for _ in range(window.limit):
            window.acknowledge(sent_at=1.0, now=1.1)
        limits.append(window.limit)

    assert limits[0] == 2
    assert limits[-1] == 4
    assert limits == sorted(limits)


def test_a_window_halves_once_for_all_that_was_sent_before_and_never_closes():
    window = Window(start=16, most=16)

    for _ in range(3):
        window.halve(sent_at=1.0, now=2.0)
    assert window.limit == 8
    for now in (3.0, 4.0, 5.0, 6.0, 7.0):
        window.halve(sent_at=now, now=now)
    assert window.limit == 1


def test_a_slow_answer_halves_the_window():
    window = Window(start=8, slow_seconds=1.0)

    window.acknowledge(sent_at=0.0, now=1.5)

    assert window.limit == 4
