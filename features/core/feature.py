"""One value of a feature view: its name, its type, and what is promised of it."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from features.core.checks import RESERVED_COLUMNS, check_name, check_tags, check_text, fail, freeze_items
from features.core.dtypes import DType
from features.core.expect import Expectation


@dataclass(frozen=True, slots=True)
class Feature:
    """One value that a view computes: `Feature("mean_delay_24h", DType.FLOAT64, unit="minutes")`.

    expect: rules that the gate checks before values are published.
    """

    name: str
    dtype: DType
    _: KW_ONLY
    unit: str | None = None
    description: str = ""
    expect: Sequence[Expectation] | Expectation = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        me = f"Feature {self.name!r}"
        check_name(self.name, owner=me)
        if self.name in RESERVED_COLUMNS:
            raise fail(me, "name", "is a column of the feature store itself")
        if not isinstance(self.dtype, DType):
            raise fail(me, "dtype", f"must be a DType, such as DType.FLOAT64, got {self.dtype!r}")
        if self.unit is not None:
            check_text(self.unit, owner=me, field="unit", required=True)
        check_text(self.description, owner=me, field="description")
        rules = (self.expect,) if isinstance(self.expect, Expectation) else self.expect
        object.__setattr__(self, "expect", freeze_items(rules, Expectation, owner=me, field="expect", required=False))
        for expectation in self.expectations:
            expectation.check_fits(self.dtype, owner=me)
        object.__setattr__(self, "tags", check_tags(self.tags, owner=me))

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """The rules, frozen."""
        return self.expect  # type: ignore[return-value]  # a tuple since birth
