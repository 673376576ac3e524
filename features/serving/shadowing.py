"""Reading the shadow of a version beside what was answered, and counting how the two differ."""

from collections.abc import Sequence

from features.core.applied import Selection
from features.core.rollout import shared_features
from features.core.rollout_counts import ShadowTally
from features.core.times import duration_micros
from features.serving.compiling import Prepared
from features.serving.request import PlannedRead, ViewPlan
from features.stores.base import OnlineRow, OnlineStore, Read, ReadAnswer

# A shadow that is slower is not compared: others wait for their turn.
_TIMEOUT_SECONDS = 0.5


def shadowed(prepared: Prepared, plans: Sequence[ViewPlan]) -> list[PlannedRead]:
    """The reads of a request whose version has a shadow: those of live versions, not of versions that it names."""
    serving = prepared.serving
    live = [plan.reads[0] for plan in plans if plan.selection.view.name in serving.shadows]
    return [
        read
        for read in live
        if read.read.keys and read.selection.view.version == serving.rollouts[read.selection.view.name].live
    ]


def compare_with_shadows(
    prepared: Prepared,
    live: Sequence[tuple[PlannedRead, ReadAnswer]],
    store: OnlineStore,
    tally: ShadowTally,
    now_micros: int,
) -> None:
    """Read the shadow's rows of the same keys, and count. Nothing is counted where either could not be read."""
    for planned, answer in live:
        shadow = prepared.serving.shadows[planned.selection.view.name]
        common = shared_features(planned.selection.features, shadow)
        names = tuple(feature.name for feature in common)
        reads = [Read(view=shadow, features=names, keys=planned.read.keys)]
        (beside,) = store.read(reads, timeout_seconds=_TIMEOUT_SECONDS)
        if isinstance(answer, Exception) or isinstance(beside, Exception):
            continue
        one, other = (
            _fresh(answer, planned.selection, now_micros),
            _fresh(beside, Selection(view=shadow, features=common, columns=names), now_micros),
        )
        places = {name: at for at, name in enumerate(planned.read.features)}
        for at, name in enumerate(names):
            tally.add(
                view=shadow.name,
                live=planned.selection.view.version,
                shadow=shadow.version,
                feature=name,
                live_values=[row and row.values[places[name]] for row in one],
                live_found=[row is not None for row in one],
                shadow_values=[row and row.values[at] for row in other],
                shadow_found=[row is not None for row in other],
            )


def _fresh(rows: Sequence[OnlineRow | None], selection: Selection, now_micros: int) -> list[OnlineRow | None]:
    """The rows that are not past the lookback of their version."""
    lookback = selection.view.lookback
    if lookback is None:
        return list(rows)
    oldest = now_micros - duration_micros(lookback)
    return [row if row is not None and row.event_micros >= oldest else None for row in rows]
