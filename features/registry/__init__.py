"""The registry: what was defined, run, loaded and pinned, in SQL. The only package that imports SQLAlchemy."""

from features.registry.plan import Change, Plan
from features.registry.records import (
    AuditEntry,
    Commit,
    Erasure,
    IntervalOutcome,
    LedgerEntry,
    RolloutEntry,
    Run,
    ShadowTotal,
    StoredManifest,
    Switch,
)
from features.registry.registry import Registry

__all__ = [
    "AuditEntry",
    "Change",
    "Commit",
    "Erasure",
    "IntervalOutcome",
    "LedgerEntry",
    "Plan",
    "Registry",
    "RolloutEntry",
    "Run",
    "ShadowTotal",
    "StoredManifest",
    "Switch",
]
