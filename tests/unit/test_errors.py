import re

import pytest

from features import errors
from features.errors import FeatureStoreError, NotFoundError


def subclasses(base: type) -> dict[str, str]:
    """The name of each error that errors.py defines below another, with the other's."""
    found = {}
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= {child.__name__: base.__name__, **subclasses(child)}
    return found


def drawn_tree() -> dict[str, str]:
    """The tree of the module's docstring: the name of each error, with that of the one above it."""
    above, found = [(-1, "FeatureStoreError")], {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"[ │]*[├└]── (?P<name>\w+) +\S", line)
        if match:
            depth = match.start("name")
            while above[-1][0] >= depth:
                above.pop()
            found[match["name"]] = above[-1][1]
            above.append((depth, match["name"]))
    return found


def test_the_docstring_draws_every_error_where_it_belongs() -> None:
    assert drawn_tree() == subclasses(FeatureStoreError)


@pytest.mark.parametrize("name", sorted(drawn_tree()))
def test_wrong_usage_and_conf_exit_with_2_and_failures_with_1(name: str) -> None:
    kind = getattr(errors, name)
    is_usage = issubclass(kind, errors.UsageError | errors.ConfigError)

    assert kind.exit_code == (2 if is_usage else 1)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("known", "hint", "message"),
    [
        (["spend", "visits"], "", "no feature view 'spent'; did you mean 'spend'?"),
        (["visits", "age"], "", "no feature view 'spent'; known: age, visits"),
        (
            [f"v{n:02}" for n in range(11)],
            "",
            f"no feature view 'spent'; known: {', '.join(f'v{n:02}' for n in range(10))}, ...",
        ),
        ([], "", "no feature view 'spent'; none is registered: run `features apply`"),
        ([], "define one", "no feature view 'spent'; define one"),
    ],
)
def test_an_unknown_name_comes_with_what_there_is(known: list[str], hint: str, message: str) -> None:
    assert str(NotFoundError.of("feature view", "spent", known, hint)) == message
