"""What is stored and what is asked. Plain Python, for any environment."""

from dataclasses import dataclass

KEYSPACE = "bench_online"
FEAST_KEYSPACE = "bench_feast"
EVENT_MICROS = 1_704_067_200_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """entities: rows of each view's table; feast_entities: of Feast's, which loads some 170 a second."""

    entities: int = 1_000_000
    feast_entities: int = 20_000
    views: int = 5
    features: int = 50

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """By view the names of its features, all FLOAT64."""
        each = self.features // self.views
        return {f"view_{v}": tuple(f"f{v}_{at}" for at in range(each)) for v in range(self.views)}

    @property
    def references(self) -> list[str]:
        """All features of all views."""
        return [f"{view}:{name}" for view, names in self.columns.items() for name in names]


def value(entity: int, view: int, feature: int) -> float:
    """The value of an entity's feature: what every contender is to answer."""
    return entity * 1000.0 + view * 100 + feature
