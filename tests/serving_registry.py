"""What serving asks of a registry, without a database: names stand for what a test says, and nothing is switched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from features.core.applied_on_demand import Requested
from features.core.rollout import ServingRequest, ServingState
from features.core.rollout_counts import ShadowCount, ViewRead
from features.errors import NotFoundError


@dataclass
class Catalogue:
    """known: what each name stands for. everything: what any name stands for, where that is said."""

    known: Mapping[str, Sequence[Requested]] = field(default_factory=dict)
    everything: Sequence[Requested] | None = None
    resolved: int = 0
    state: ServingState = field(default_factory=lambda: ServingState(generation=1))
    reads: list[ViewRead] = field(default_factory=list)
    shadows: list[ShadowCount] = field(default_factory=list)

    def switch(self) -> None:
        """As if a version had been switched."""
        self.state = replace(self.state, generation=self.state.generation + 1)

    def serving_generation(self) -> int:
        return self.state.generation

    def serving_state(self) -> ServingState:
        return self.state

    def resolve_serving(self, features: str | Sequence[str], state: ServingState | None = None) -> ServingRequest:
        self.resolved += 1
        names = [features] if isinstance(features, str) else features
        if self.everything is None:
            for name in names:
                if name not in self.known:
                    raise NotFoundError.of("feature", name, self.known)
        found = self.everything or tuple(item for name in names for item in self.known[name])
        generation = (state or self.state).generation
        return ServingRequest(generation=generation, requested=tuple(found), rollouts={}, candidates={}, shadows={})

    def record_reads(self, reads: Sequence[ViewRead]) -> None:
        self.reads.extend(reads)

    def record_shadow(self, counts: Sequence[ShadowCount]) -> None:
        self.shadows.extend(counts)
