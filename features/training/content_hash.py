"""The content hash of a training set: of the multiset of its rows, whatever their order and partitions."""

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_MODULUS = 1 << 64


def content_hash(frame: "DataFrame") -> str:
    """SHA-256 over column names and types, the number of rows, and two sums of 64-bit row hashes (XXH64), modulo 2**64.

    A row's hash covers every value by its bits, and whether it is null; all NaN are one, and so are 0.0 and -0.0. It is
    computed in Spark, in one pass, and does not depend on the version of the JDK.
    """
    from pyspark.sql import functions as F

    parts: list[Column] = []
    for name, kind in frame.dtypes:
        column = F.col(f"`{name}`")
        parts.append(column.isNull())
        if kind.startswith("array"):
            # A hash goes through elements alone: sizes keep [1], [2] apart from [1, 2], [].
            parts += [F.size(column), F.transform(column, lambda element: element.isNull())]
        if kind in ("float", "double"):
            column = (
                F.when(F.isnan(column), F.lit(float("nan")).cast(kind))
                .when(column == 0, F.lit(0.0).cast(kind))
                .otherwise(column)
            )
        parts.append(column)
    sums = [F.sum(F.xxhash64(F.lit(seed), *parts).cast("decimal(38,0)")).alias(f"s{seed}") for seed in (1, 2)]
    found = frame.agg(F.count(F.lit(1)).alias("rows"), *sums).first()
    rows, first, second = found if found is not None else (0, 0, 0)
    totals = [int(total or 0) % _MODULUS for total in (first, second)]
    return hashlib.sha256(json.dumps([frame.dtypes, rows, *totals]).encode()).hexdigest()
