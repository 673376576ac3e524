"""A workshop for each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.builders import Workshop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def workshop(spark: "SparkSession", tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(spark, tmp_path)
    yield made
    made.registry.close()
