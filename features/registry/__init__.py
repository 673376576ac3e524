"""The registry: what was defined, run, loaded and pinned, in SQL. The only package that imports SQLAlchemy."""

from features.registry.costs import Pace
from features.registry.plan import Change, Plan
from features.registry.records import (
    AuditEntry,
    Commit,
    IntervalOutcome,
    LedgerEntry,
    RestoredLog,
    RolloutEntry,
    Run,
    ShadowTotal,
    StoredManifest,
    Switch,
)
from features.registry.registry import Registry
from features.registry.source_schemas import SourceSchema

__all__ = [
    "AuditEntry",
    "Change",
    "Commit",
    "IntervalOutcome",
    "LedgerEntry",
    "Pace",
    "Plan",
    "Registry",
    "RestoredLog",
    "RolloutEntry",
    "Run",
    "ShadowTotal",
    "SourceSchema",
    "StoredManifest",
    "Switch",
]
