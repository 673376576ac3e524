"""The tasks' readers against an object store: a local server that speaks S3."""

from collections.abc import Iterator
from dataclasses import replace

import boto3
import pyarrow as pa
import pytest
from deltalake import DeltaTable, WriterProperties, write_deltalake
from moto.server import ThreadedMotoServer

from features import DType
from features.engine.as_of.task import LogToRead
from features.errors import StorageError
from features.stores.filesystems import native_uri
from features.stores.log_files import list_files
from tests.builders import apply_view, make_view
from tests.logs import log_schema, put
from tests.unit.engine.as_of.test_task import instant, join, log_to_read

VIEW = apply_view(make_view())
KEYS = [f"customer-{n:03}" for n in range(40)]
TABLE = "s3a://features/warehouse/last_payment/v1"


@pytest.fixture(scope="module", autouse=True)
def store() -> Iterator[None]:
    """A bucket, found as any other would be: by the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="features")
        for day in range(3):
            rows = [
                {**put(instant(day), instant(day + 1), seq=day + 1), "customer": key, "amount": float(day)}
                for key in KEYS
            ]
            write_deltalake(
                native_uri(TABLE),
                pa.Table.from_pylist(rows, schema=log_schema(VIEW)),
                mode="append",
                writer_properties=WriterProperties(max_row_group_size=16),
            )
        yield
    server.stop()


def log_in_store() -> LogToRead:
    listed = list_files(TABLE, ["customer", "event_timestamp"])
    assert listed.obstacle is None
    assert len(listed.files) == 3
    return replace(
        log_to_read((DType.STRING,), listed.files, status=None), keys=(("customer", DType.STRING),), table=TABLE
    )


def test_tasks_read_a_log_where_it_lies() -> None:
    log = log_in_store()
    spine = [((key,), t) for key in (KEYS[0], KEYS[20], KEYS[39], "stranger") for t in (0, 1, 2, 9)]
    found = join((DType.STRING,), spine, log, names=["customer"])
    per_key = [None, 0.0, 1.0, 2.0]
    assert [row["amount"] for row in found] == per_key * 3 + [None] * 4


def test_files_that_are_gone_are_found_in_the_newest_version() -> None:
    log = log_in_store()
    gone = tuple(replace(file, path=file.path.replace("part-", "gone-")) for file in log.files)
    found = join((DType.STRING,), [((KEYS[3],), 9)], replace(log, files=gone), names=["customer"])
    assert [row["amount"] for row in found] == [2.0]


def test_a_table_that_is_gone_is_told() -> None:
    log = log_in_store()
    gone = tuple(replace(file, path=file.path.replace("part-", "gone-")) for file in log.files)
    with pytest.raises(StorageError, match="cannot read the log at s3a://features/nowhere"):
        join(
            (DType.STRING,),
            [((KEYS[3],), 9)],
            replace(log, files=gone, table="s3a://features/nowhere"),
            names=["customer"],
        )


def test_rows_that_were_removed_meanwhile_are_told() -> None:
    log = log_in_store()
    gone = tuple(replace(file, path=file.path.replace("part-", "gone-")) for file in log.files)
    DeltaTable(native_uri(TABLE)).delete("amount = 0")
    with pytest.raises(StorageError, match="were removed while it was read, by a DELETE statement"):
        join((DType.STRING,), [((KEYS[3],), 9)], replace(log, files=gone), names=["customer"])
