"""Which version of a view answers online: its live version, a canary beside it, and a shadow. Plain values and rules.

The registry keeps one `ViewRollout` a view and changes it by the functions here; servers follow a `ServingState`.
A version that is *current* is another thing: the one that the code defines, which builds and training take.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from types import MappingProxyType

from features.core.applied import AppliedView
from features.core.applied_on_demand import Requested
from features.core.definitions import Feature
from features.errors import RefusedError, UsageError

# Shares are counted in basis points: hundredths of a percent.
FULL_SHARE = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewRollout:
    """Which versions of a view serving reads.

    live: what the view's bare name means online.
    candidate: the version that answers for a share of the keys instead; None: there is no canary.
    share: of keys, in basis points: 1 to 10,000, and 0 without a candidate.
    salt: what the hash of keys is salted with, so that two canaries need not meet the same keys; "" without one.
    shadow: the version that is read beside, and never answers.
    earlier: the versions that were live before and may be again, the latest last.
    """

    view: str
    live: int
    candidate: int | None = None
    share: int = 0
    salt: str = ""
    shadow: int | None = None
    earlier: tuple[int, ...] = ()

    @property
    def versions(self) -> frozenset[int]:
        """The versions that serving reads now."""
        return frozenset(v for v in (self.live, self.candidate, self.shadow) if v is not None)

    def refer(self, version: int) -> str:
        """`view@version`."""
        return f"{self.view}@{version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingState:
    """What a server follows: a snapshot of every view's rollout.

    generation: grows with every switch and every apply, so that an unchanged one says that nothing changed.
    views: by name; all that were ever applied.
    """

    generation: int
    views: Mapping[str, ViewRollout] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingRequest:
    """What a `features` argument stands for online, in one state.

    generation: of the state.
    requested: the features in the order asked: of live versions where a view is named without one.
    rollouts: of the views that were named without a version, by the request, its service or an on-demand view.
    candidates: of these, by name, the version in canary, where it can answer this request in live's place: equal join
        keys, all features that are asked, of equal types. A view that is not here is answered by live for every key.
    shadows: likewise the version to read beside. Its join keys are equal; it may lack features (`shared_features`).
    """

    generation: int
    requested: tuple[Requested, ...]
    rollouts: Mapping[str, ViewRollout]
    candidates: Mapping[str, AppliedView]
    shadows: Mapping[str, AppliedView]


def shared_features(asked: Sequence[Feature], other: AppliedView) -> tuple[Feature, ...]:
    """Those of the features that another version has too, of the same type: what can be compared, or answered."""
    types = {feature.name: feature.dtype for feature in other.features}
    return tuple(feature for feature in asked if types.get(feature.name) == feature.dtype)


def promote(now: ViewRollout, version: int) -> ViewRollout:
    """The rollout with that version live for all keys; a canary, of it or of another version, ends.

    To promote what is live changes nothing. Raises: RefusedError: it is live, and another version is in canary: whether
    that was to end is not clear.
    """
    if version == now.live:
        if now.candidate is not None:
            raise RefusedError(
                f"{now.refer(version)} is live already, with {now.refer(now.candidate)} in canary; `features rollback "
                f"{now.view}` ends the canary"
            )
        return now
    return _tidy(replace(_without_canary(now), live=version, earlier=(*now.earlier, now.live)))


def start_canary(now: ViewRollout, version: int, share: int) -> ViewRollout:
    """The rollout with that version answering for a share of the keys, or with another share for the one that does.

    The keys of a smaller share are among those of a greater one.

    Args:
        now: the rollout.
        version: the candidate.
        share: of keys, in basis points, 1 to 10,000.

    Raises: RefusedError: the version is live, or another one is in canary; UsageError: the share is out of range.
    """
    if not 1 <= share <= FULL_SHARE:
        raise UsageError(f"a canary of {format_share(share)} of the keys; give more than 0% and at most 100%")
    if version == now.live:
        raise RefusedError(f"{now.refer(version)} is live already: there is nothing to compare it with")
    if now.candidate not in (None, version):
        raise RefusedError(
            f"{now.refer(now.candidate or 0)} is in canary; promote it or end it with `features rollback {now.view}`, "
            f"then start that of {now.refer(version)}"
        )
    # Of the version alone: a canary that is ended and begun again meets the same keys.
    return replace(now, candidate=version, share=share, salt=str(version))


def roll_back(now: ViewRollout) -> ViewRollout:
    """The rollout without its canary or, where there is none, with the version live that was live before.

    Raises: RefusedError: there is neither.
    """
    if now.candidate is not None:
        return _without_canary(now)
    if not now.earlier:
        raise RefusedError(f"{now.refer(now.live)} has been live from the start: there is nothing to roll back to")
    return _tidy(replace(now, live=now.earlier[-1], earlier=now.earlier[:-1]))


def set_shadow(now: ViewRollout, version: int | None) -> ViewRollout:
    """The rollout with that version read beside, or with none. Raises: RefusedError: the version is live."""
    if version == now.live:
        raise RefusedError(f"{now.refer(now.live)} is live: a shadow is another version")
    return replace(now, shadow=version)


def parse_share(text: str) -> int:
    """A share of keys in basis points, of a text such as `5%` or `0.25%`.

    Raises: UsageError: it is none, not above 0% and at most 100%, or finer than 0.01%.
    """
    number, sign, rest = text.strip().partition("%")
    try:
        points = Decimal(number.strip()) * 100 if sign and not rest else Decimal("NaN")
    except InvalidOperation:
        points = Decimal("NaN")
    if not points.is_finite() or points != int(points) or not 1 <= points <= FULL_SHARE:
        raise UsageError(f"{text!r} is no share of keys; write 5%, more than 0% and at most 100%, in steps of 0.01%")
    return int(points)


def format_share(share: int) -> str:
    """A share in basis points as `parse_share` reads it."""
    return f"{Decimal(share).scaleb(-2).normalize():f}%"


def _without_canary(now: ViewRollout) -> ViewRollout:
    return replace(now, candidate=None, share=0, salt="")


def _tidy(now: ViewRollout) -> ViewRollout:
    """A version that has become live is no shadow of itself."""
    return replace(now, shadow=None) if now.shadow == now.live else now
