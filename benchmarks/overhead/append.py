"""The least that a job of this kind does: `spark-submit append.py TABLE`. One row into a Delta table, and read back.

The session is the one that our jobs open, so that nothing of the difference is a matter of Spark's settings.
"""

import sys
from datetime import UTC, datetime

from features.config import SparkSettings
from features.engine.session import open_session
from features.functions import F


def main(table: str) -> None:
    """Append, read back, end."""
    spark = open_session(SparkSettings(), app="append")
    before = datetime.now(UTC)
    row = spark.createDataFrame([("a", before, 1.0)], "customer string, event_timestamp timestamp, total double")
    row.write.format("delta").mode("append").save(table)
    found = spark.read.format("delta").load(table).where(F.col("event_timestamp") == before).count()
    spark.stop()
    if found != 1:
        sys.exit(f"{found} rows were read back")


if __name__ == "__main__":
    main(sys.argv[1])
