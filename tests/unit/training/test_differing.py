"""What an error of a rebuild says: the log is blamed only for what comes from it."""

from typing import Any

import pytest

from features.training.differing import changes_since, explain_difference

LOGS = "rows that it needs were removed or rewritten"
CODE = {"package": "views", "commit": "a" * 40, "modified": False}
VERSIONS = {"python": "3.11.9", "pyarrow": "20.0.0"}


def statistics(**greatest: float) -> dict[str, dict[str, Any]]:
    return {c: {"nulls": 0, "nans": 0, "min": 0.0, "max": end, "mean": 1.0} for c, end in greatest.items()}


CONTENT = {"rows": 4, "statistics": statistics(amount=2.0, double=4.0), "code": CODE, "versions": VERSIONS}


def explain(*, rows: int = 4, computed: tuple[str, ...] = ("double",), **greatest: float) -> str:
    found = statistics(**{"amount": 2.0, "double": 4.0, **greatest})
    return explain_difference(CONTENT, rows=rows, statistics=found, computed=computed, code=CODE, versions=VERSIONS)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"amount": 9.0}, f" (to tell by statistics, in amount); {LOGS}"),
        ({"amount": 9.0, "double": 18.0}, f" (to tell by statistics, in amount, double); {LOGS}"),
        ({"rows": 3}, f", 3 rows instead of 4; {LOGS}"),
        ({"computed": ()}, f"; {LOGS}"),
    ],
)
def test_the_log_is_blamed_where_what_comes_from_it_differs(given: dict[str, Any], told: str) -> None:
    assert explain(**given) == told


@pytest.mark.parametrize("given", [{"double": 5.0}, {}])
def test_a_function_is_named_beside_the_log_where_nothing_tells_the_two_apart(given: dict[str, Any]) -> None:
    assert f"; an on-demand function, or a library that it calls, gives other values than then, or {LOGS}" in explain(
        **given
    )


@pytest.mark.parametrize(
    ("code", "versions", "told"),
    [
        (CODE, VERSIONS, []),
        (CODE, {"python": "3.11.9", "pyarrow": "21.0.0"}, ["pyarrow 20.0.0 -> 21.0.0"]),
        (CODE, {"python": "3.11.9", "numpy": "2.0"}, ["pyarrow 20.0.0 -> missing", "numpy missing -> 2.0"]),
        ({**CODE, "commit": "b" * 40}, VERSIONS, [f"views at {'a' * 12} -> views at {'b' * 12}"]),
        ({**CODE, "commit": None, "modified": None}, VERSIONS, [f"views at {'a' * 12} -> views at no commit"]),
        ({**CODE, "modified": True}, VERSIONS, [f"views at {'a' * 12} had, or has, changes that are not committed"]),
    ],
)
def test_libraries_and_code_that_changed_since_are_named(
    code: dict[str, Any], versions: dict[str, str], told: list[str]
) -> None:
    assert changes_since(CONTENT, code=code, versions=versions) == told
    found = explain_difference(
        CONTENT, rows=4, statistics=CONTENT["statistics"], computed=("double",), code=code, versions=versions
    )
    assert found.endswith(f"; since then: {', '.join(told)}" if told else LOGS)
