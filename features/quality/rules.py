"""The rules that the gate judges a view's rows by: those that the stores need, then those that the author expects."""

from collections.abc import Iterator
from dataclasses import dataclass

from features.core.definitions import ViewSpec
from features.core.dtypes import DType
from features.core.expect import Expectation

# Cassandra refuses an empty partition key, and one of 64 KiB or more.
MAX_KEY_BYTES = 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One expectation of one column; `number` is its place among the view's rules."""

    number: int
    column: str
    dtype: DType
    expectation: Expectation

    @property
    def name(self) -> str:
        """The kind of rule, such as `between`."""
        return self.expectation.rule

    @property
    def severity(self) -> str:
        """warn, quarantine or refuse."""
        return self.expectation.severity

    def __str__(self) -> str:
        return f"{self.column}: {self.expectation}"


def rules_of(view: ViewSpec) -> tuple[Rule, ...]:
    """The rules of a view, in order: join keys, event_timestamp, then each feature's type and its `expect`.

    Beside the rules of `Expect` there are three that only the schema asks for, always refusing: `key_bytes(low, high)`
    of UTF-8, `no_null_elements()` and `length(n)`. Like every rule but not_null, they let nulls pass.
    """
    judged = (*_key_rules(view), *_feature_rules(view))
    return tuple(
        Rule(number=number, column=column, dtype=dtype, expectation=expectation)
        for number, (column, dtype, expectation) in enumerate(judged)
    )


def _key_rules(view: ViewSpec) -> Iterator[tuple[str, DType, Expectation]]:
    # Cassandra's limit is on a whole partition key, of which each part of a composite takes three bytes more.
    parts = len(view.join_keys)
    most = MAX_KEY_BYTES if parts == 1 else MAX_KEY_BYTES // parts - 3
    for key, dtype in view.join_keys.items():
        yield key, dtype, Expectation(rule="not_null")
        if dtype.kind in ("string", "bytes"):
            yield key, dtype, Expectation(rule="key_bytes", arguments=(1, most))
    yield "event_timestamp", DType.TIMESTAMP, Expectation(rule="not_null")


def _feature_rules(view: ViewSpec) -> Iterator[tuple[str, DType, Expectation]]:
    for feature in view.features:
        if feature.dtype.is_list:
            yield feature.name, feature.dtype, Expectation(rule="no_null_elements")
        if feature.dtype.kind == "vector":
            yield feature.name, feature.dtype, Expectation(rule="length", arguments=(feature.dtype.length,))
        for expectation in feature.expectations:
            yield feature.name, feature.dtype, expectation
