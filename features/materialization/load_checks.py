"""Whether a load arrived: everything acknowledged, and a sample of it read back as it was written."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from features.core.applied import AppliedView
from features.core.equality import equal_values
from features.core.times import to_micros
from features.errors import OnlineStoreError
from features.stores.base import DELETE, TTL_SECONDS, OnlineRow, OnlineStore, Read, Written, rows_of
from features.stores.delta import FeatureLog
from features.stores.log_state import CREATED, EVENT

logger = logging.getLogger(__name__)

# A row that had so much time left, beside what the load took, may be gone when it is read back: clocks differ.
_EXPIRING_SECONDS = 600


def verify(
    online: OnlineStore, applied: AppliedView, written: Written, log: FeatureLog, position: int, *, now: datetime
) -> bool:
    """Compare what the tasks were given with what the store acknowledged, and a sample of it with what it holds now.

    Args:
        online: the store. applied: the view version that was loaded. written: by this load.
        log: where the rows come from. position: of the load.
        now: when its TTLs are counted from.

    Returns: whether all is as it was written; not, where another load may have written over it since.

    Raises: OnlineStoreError: a row is missing, or another one is stored.
    """
    evidence = written.evidence
    expected = 0 if evidence is None else evidence.rows
    if written.rows + written.deleted != expected:
        raise OnlineStoreError(
            f"{applied.online_table}: {expected} rows were to be written or deleted, "
            f"{written.rows + written.deleted} were acknowledged; load again"
        )
    if evidence is None:
        return True
    names = tuple(f.name for f in applied.features)
    wanted = evidence.sample.to_pylist()
    keys = tuple(tuple(row[key] for key in applied.join_keys) for row in wanted)
    found = rows_of(*online.read([Read(view=applied, features=names, keys=keys)]))
    expiring = (datetime.now(UTC) - now).total_seconds() + _EXPIRING_SECONDS
    different = [k for k, r, o in zip(keys, wanted, found, strict=True) if not _same(r, o, names, expiring)]
    if not different:
        return True
    newest = log.snapshot()
    if newest is not None and newest.position > position:
        # Another loader may be ahead, and the greater position wins: no fault of this load, but no proof of it either.
        logger.warning(
            "not verified, since the log has moved on during the load; the next load repeats it",
            extra={"view": applied.reference, "position": position, "rows": len(different)},
        )
        return False
    shown = ", ".join(f"{name}={value!r}" for name, value in zip(applied.join_keys, different[0], strict=True))
    raise OnlineStoreError(
        f"{applied.online_table} holds another row of {shown} than was loaded; load again. If it persists, someone "
        "wrote to the table by hand, which wins over every load: drop the table, then load again"
    )


def _same(row: dict[str, Any], online: OnlineRow | None, names: Sequence[str], expiring: float) -> bool:
    """expiring: seconds; a row whose TTL is not longer may be gone."""
    ttl = row[TTL_SECONDS]
    if row[DELETE] or (ttl is not None and ttl <= 0):
        return online is None
    if online is None and ttl is not None and ttl <= expiring:
        return True
    if (
        online is None
        or to_micros(row[EVENT]) != online.event_micros
        or to_micros(row[CREATED]) != online.created_micros
    ):
        return False
    return all(equal_values(row[name], value) for name, value in zip(names, online.values, strict=True))
