"""What a comparison of two versions answers with, and what in it is past a limit."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """Values of a numeric feature over the keys of one version, of those that are finite; None where there are none.

    quantiles: about those of QUANTILES, by rank within 0.1 %.
    """

    mean: float | None
    stddev: float | None
    min: float | None
    max: float | None
    quantiles: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureParity:
    """One feature that both versions have, of equal type.

    different: how many of the keys that are in both have unequal values. NaN equals NaN, null equals null.
    null_first, null_second: null values over all keys of each version.
    first, second: distributions of a numeric feature; None of others.
    """

    name: str
    dtype: str
    different: int
    null_first: int
    null_second: int
    first: Distribution | None
    second: Distribution | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """How the latest rows of two versions compare, key by key, at the ends of their logs.

    first, second: the versions, as `name@version`; position_first, position_second: their log positions.
    keys_first, keys_second, keys_both: keys with a row.
    events_different: keys in both whose rows are of different event times.
    only_first, only_second: features that one of them has. other_types: features whose types differ, as
        `name: float64 -> string`; these are not compared.
    sampled: whether keys were chosen, so that all counts are of those alone.
    max_different, max_missing: the limits, as shares.
    """

    first: str
    second: str
    position_first: int
    position_second: int
    keys_first: int
    keys_second: int
    keys_both: int
    events_different: int
    features: tuple[FeatureParity, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    other_types: tuple[str, ...]
    sampled: bool
    max_different: float
    max_missing: float

    @property
    def problems(self) -> tuple[str, ...]:
        """What is past its limit, in words."""
        return tuple(self._problems())

    @property
    def passed(self) -> bool:
        """Whether nothing is past its limit."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """The same for machines, with what is past its limit."""
        return {**asdict(self), "problems": list(self.problems), "passed": self.passed}

    def _problems(self) -> Iterator[str]:
        if not self.keys_both:
            yield f"{self.first} and {self.second} have no key in common, so that nothing was compared"
        missing = self.keys_first - self.keys_both
        if missing > self.max_missing * self.keys_first:
            share = show_share(missing, self.keys_first)
            yield f"{share} of the keys of {self.first} are not in {self.second}, more than {100 * self.max_missing:g}%"
        for feature in self.features:
            if feature.different > self.max_different * self.keys_both:
                share = show_share(feature.different, self.keys_both)
                yield f"{feature.name} differs for {share} of the keys in both, more than {100 * self.max_different:g}%"


def show_share(part: int, whole: int) -> str:
    """A share in percent: `2.5%`; a part that is not nothing never shows as 0%, nor one that is not all as 100%."""
    if not whole:
        return "0%"
    percent = 100 * part / whole
    if 0 < part < whole:
        percent = min(max(percent, 0.01), 99.99)
    return f"{percent:.2f}".rstrip("0").rstrip(".") + "%"
