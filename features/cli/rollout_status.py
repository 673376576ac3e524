"""What `features rollout` shows: which versions answer, how far each is built and loaded, and who reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.cli.rendering import fields, table
from features.core.rollout import ViewRollout, format_share

if TYPE_CHECKING:
    from datetime import datetime

    from features.core.rollout_counts import ViewRead
    from features.registry import Registry, RolloutEntry, ShadowTotal

_SHOWN_HISTORY = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionStatus:
    """One version that serving or builds take, or that somebody read.

    roles: of "live", "canary", "shadow", "current", "before" (what a rollback goes back to). position: of its log.
    loaded: the log position that is online. built_until: the end of the last interval that was built.
    """

    version: int
    roles: tuple[str, ...]
    position: int
    loaded: int
    built_until: "datetime | None"
    readers: "tuple[ViewRead, ...]"


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutStatus:
    """A view's rollout, and all that is known of its versions. current: what builds and training take."""

    rollout: ViewRollout
    current: int
    versions: tuple[VersionStatus, ...]
    shadow_counts: "tuple[ShadowTotal, ...]"
    history: "tuple[RolloutEntry, ...]"


def inspect_rollout(registry: "Registry", name: str, target: str) -> RolloutStatus:
    """What the registry knows of a view's rollout.

    Args:
        registry: of the environment.
        name: of the view.
        target: names the online store.

    Raises: NotFoundError: no such view; UsageError: it is named with a version.
    """
    now = registry.rollout(name)
    current = registry.view(name).version
    reads = registry.consumers(name)
    roles = {"live": now.live, "canary": now.candidate, "shadow": now.shadow, "current": current,
             "before": now.earlier[-1] if now.earlier else None}  # fmt: skip
    numbers = {version for version in roles.values() if version is not None} | {read.version for read in reads}
    versions = []
    for number in sorted(numbers):
        view = registry.view(now.refer(number))
        built = [entry.interval.end for entry in registry.ledger(view) if entry.built]
        versions.append(
            VersionStatus(
                version=number,
                roles=tuple(role for role, version in roles.items() if version == number),
                position=max((commit.position for commit in registry.commits(view)), default=0),
                loaded=registry.checkpoint(view, target=target),
                built_until=max(built, default=None),
                readers=tuple(read for read in reads if read.version == number),
            )
        )
    return RolloutStatus(
        rollout=now,
        current=current,
        versions=tuple(versions),
        shadow_counts=registry.shadow_counts(name),
        history=registry.rollout_history(name, limit=_SHOWN_HISTORY),
    )


def tell_rollouts(pairs: Sequence[tuple[ViewRollout, int]]) -> str:
    """One line per view, of its rollout and its current version."""
    if not pairs:
        return "no view is registered; run `features apply`"
    rows = [
        [now.view, now.live, now.candidate, format_share(now.share) if now.share else None, now.shadow, current]
        for now, current in pairs
    ]
    return table(("view", "live", "canary", "of the keys", "shadow", "current"), rows)


def tell_rollout(found: RolloutStatus) -> str:
    """All of one view."""
    now = found.rollout
    canary = f"{now.refer(now.candidate)}, {format_share(now.share)} of the keys" if now.candidate is not None else None
    parts = [
        fields(
            {
                "live": now.refer(now.live),
                "canary": canary,
                "shadow": now.refer(now.shadow) if now.shadow is not None else None,
                "current": now.refer(found.current),
                **({} if found.current == now.live else {"skew": _tell_skew(found)}),
            }
        ),
        table(
            ("version", "role", "log", "loaded", "built until", "last read", "readers"),
            [
                [v.version, ", ".join(v.roles) or None, v.position, v.loaded, v.built_until,
                 max((read.last_read_at for read in v.readers), default=None),
                 ", ".join(read.consumer for read in v.readers[:5]) or None]
                for v in found.versions
            ],
        ),
    ]  # fmt: skip
    if found.shadow_counts:
        parts.append(_tell_shadow(found.shadow_counts))
    parts.append(_tell_history(found.history))
    return "\n\n".join(parts)


def _tell_skew(found: RolloutStatus) -> str:
    now = found.rollout
    return (
        f"training and builds take {now.refer(found.current)}, serving answers from {now.refer(now.live)}, which "
        f"scheduled runs no longer build; `features promote {now.refer(found.current)}` ends that"
    )


def _tell_shadow(counts: "Sequence[ShadowTotal]") -> str:
    headers = ("live", "shadow", "feature", "compared", "different", "missing", "since", "until")
    return table(
        headers,
        [[c.live, c.shadow, c.feature, c.compared, c.different, c.missing, c.first_at, c.last_at] for c in counts],
    )


def _tell_history(entries: "Sequence[RolloutEntry]") -> str:
    headers = ("at", "by", "what", "live", "canary", "of the keys", "shadow")
    return table(
        headers,
        [
            [e.at, e.actor, e.action, e.live, e.candidate, format_share(e.share) if e.share else None, e.shadow]
            for e in entries
        ],
    )
