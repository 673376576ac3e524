"""Sources in an object store, a local server that speaks S3: the same windows as of the same files on a disk."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

from features.engine.windows.files import ObstacleError, find_event_files
from features.engine.windows.reading import read_packed
from features.errors import SourceError
from features.stores.filesystems import OpenFolder
from tests.unit.engine.windows.test_event_files import LONGEST, computed, plan, source, write_events
from tests.window_cases import BASE_US, DAY_US, day
from tests.window_oracle import Event

ROOT = "s3a://events/landing"
# More files than are opened at a time.
COUNT = 20
EVENTS = [
    Event((key, "x"), BASE_US + n * DAY_US + place, BASE_US + n * DAY_US + place, float(n))
    for n in range(COUNT)
    for place, key in enumerate("abcdef")
]


@pytest.fixture(scope="module", autouse=True)
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files on a disk; and in a bucket, which is found as any other would be, by the environment."""
    folder = tmp_path_factory.mktemp("events")
    write_events(folder, EVENTS)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="events")
        for file in folder.rglob("*.parquet"):
            client.upload_file(str(file), "events", f"landing/{file.relative_to(folder)}")
        client.put_object(Bucket="events", Key="spoilt/events.parquet", Body=b"PAR1 and no more")
        yield folder
    server.stop()


def test_windows_of_files_far_away_are_those_of_the_same_files_nearby(near: Path) -> None:
    made = plan(since=BASE_US + 2 * DAY_US)
    found = {}
    for root in (str(near), ROOT, f"{ROOT}/"):
        given = source(near, path=root, partition_field="day")
        files = find_event_files(given, made, day(2), day(COUNT), window=LONGEST)
        rows = computed(files, made, tasks=2, buckets=2)
        names = sorted((path.removeprefix(root.rstrip("/")), number) for path, number in files.groups)
        found[root] = names, sorted(rows, key=lambda row: (row["left"], row["event_timestamp"]))
    assert len(found[ROOT][0]) == 2 * COUNT
    assert found[ROOT] == found[f"{ROOT}/"] == found[str(near)]


def test_one_file_may_be_the_source(near: Path) -> None:
    path = f"{ROOT}/day={day(3).date()}/events.parquet"
    files = find_event_files(source(near, path=path), plan(), day(3), day(4), window=LONGEST)
    assert files.groups == ((path, 0), (path, 1))
    assert len(computed(files, plan(), tasks=1, buckets=1)) == 6


def test_what_cannot_be_read_is_named(near: Path) -> None:
    spoilt = source(near, path="s3://events/spoilt")
    with pytest.raises(ObstacleError, match=r"s3://events/spoilt/events\.parquet is not read"):
        find_event_files(spoilt, plan(), day(0), day(1), window=LONGEST)
    files = find_event_files(source(near, path=ROOT), plan(), day(0), day(1), window=LONGEST)
    gone = replace(files, groups=((f"{ROOT}/gone.parquet", 0),))
    task = iter([pa.RecordBatch.from_pydict({"id": pa.array([0], pa.int64())})])
    with pytest.raises(SourceError, match=r"landing/gone\.parquet cannot be read: .*; land it again"):
        list(read_packed(task, files=gone, plan=plan(), buckets=1, tasks=1))


def test_files_far_away_are_opened_some_at_a_time_and_those_nearby_one_by_one(near: Path) -> None:
    together = threading.Barrier(4)

    def wait(number: int) -> int:
        # Nobody passes alone.
        together.wait(timeout=30)
        return number

    assert list(OpenFolder.open(ROOT).each(wait, range(40))) == list(range(40))
    threads = set(OpenFolder.open(str(near)).each(lambda _: threading.get_ident(), range(4)))
    assert threads == {threading.get_ident()}
