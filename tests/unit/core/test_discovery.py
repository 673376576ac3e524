import importlib
from collections.abc import Callable, Mapping

import pytest

from features.core.discovery import discover
from features.errors import ConfigError, DefinitionError, NotFoundError

Write = Callable[[Mapping[str, str]], str]

SHARED = """
from datetime import timedelta
from features import *
CUSTOMER = Entity(name="customer", join_keys={"customer": DType.STRING})
PAYMENTS = BatchSource(name="payments", path="data", format="parquet", timestamp_field="paid_at")
def same(payments):
    return payments
def make(name, **changes):
    given = dict(name=name, entities=[CUSTOMER], sources=[PAYMENTS], transform=same, lookback=None, schedule="@daily",
                 features=[Feature("amount", DType.FLOAT64)], delay=timedelta(0), owner="o", description="d")
    return FeatureView(**{**given, **changes})
"""
USE = "from PACKAGE.shared import *\n"


def test_views_and_services_of_all_modules_are_found(write_package: Write) -> None:
    package = write_package(
        {
            "__init__.py": "",
            "shared.py": SHARED,
            "one.py": USE + "ONE = make('one')",
            "deep/__init__.py": USE + "TWO = make('two')",
            "deep/deeper/__init__.py": "",
            "deep/deeper/three.py": USE + "from PACKAGE.one import ONE\nTHREE = make('three')\n"
            "S = FeatureService(name='s', features=['one', 'two:amount', 'three@4:gone', 'former@1'])",
        }
    )

    found = discover(package)

    assert sorted(found.views) == ["one", "three", "two"]
    assert list(found.services) == ["s"]
    assert found.view("one") is importlib.import_module(f"{package}.one").ONE


def test_a_single_module_will_do(write_package: Write) -> None:
    package = write_package({"shared.py": SHARED + "ONE = make('one')"})

    assert list(discover(f"{package}.shared").views) == ["one"]


def test_a_package_that_defines_nothing_is_not_taken_for_a_wish_to_remove_all(write_package: Write) -> None:
    with pytest.raises(ConfigError, match="defines nothing; is it the one that conf means"):
        discover(write_package({}))


def test_a_module_that_exits_is_told_with_its_line(write_package: Write) -> None:
    with pytest.raises(DefinitionError, match=r"SystemExit: 0 \(one.py, line 3\)"):
        discover(write_package({"one.py": "import sys\n\nsys.exit(0)\n"}))


def test_an_unknown_view_comes_with_the_nearest_name(write_package: Write) -> None:
    found = discover(write_package({"shared.py": SHARED + "ONE = make('last_payment')"}))

    with pytest.raises(NotFoundError, match=r"no feature view 'last_paymnt'; did you mean 'last_payment'?"):
        found.view("last_paymnt")


@pytest.mark.parametrize("name", ["no_such_package_of_views", "no_such_package_of_views.deep"])
def test_a_missing_package_is_an_error_of_conf(name: str) -> None:
    with pytest.raises(ConfigError, match=f"conf names the views module '{name}', which cannot be imported"):
        discover(name)


def test_a_missing_module_of_a_package_is_an_error_of_conf(write_package: Write) -> None:
    package = write_package({})

    with pytest.raises(ConfigError, match="which cannot be imported"):
        discover(f"{package}.views")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module", "does not import: No module named 'no_such_module'"),
        ("import PACKAGE.no_such_module", "does not import: No module named"),
        ("from PACKAGE import nothing", "does not import: ImportError: cannot import name 'nothing'"),
        ("def broken(:", "does not import: SyntaxError"),
        ("1 / 0", "does not import: ZeroDivisionError: division by zero"),
        (USE + "make('Bad')", "FeatureView 'Bad': name 'Bad' must be lower case"),
    ],
)
@pytest.mark.parametrize("path", ["one.py", "deep/__init__.py"])
def test_a_module_that_does_not_import_is_named(write_package: Write, path: str, text: str, why: str) -> None:
    package = write_package({"shared.py": SHARED, path: text})
    module = f"{package}.{path.removesuffix('.py').partition('/')[0]}"

    with pytest.raises(DefinitionError) as raised:
        discover(package)

    assert f"module {module!r}" in str(raised.value)
    assert why in str(raised.value)


def test_a_package_whose_own_import_fails_is_no_error_of_conf(write_package: Write) -> None:
    package = write_package({"__init__.py": "import no_such_module"})

    with pytest.raises(DefinitionError, match=f"module '{package}' does not import"):
        discover(package)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("FeatureView", "A = make('same_name')", "A = make('same_name', delay=timedelta(1))"),
        (
            "FeatureService",
            "V = make('v')\nA = FeatureService(name='same_name', features=['v'])",
            "A = FeatureService(name='same_name', features=['v:amount'])",
        ),
        (
            "Entity",
            "A = Entity(name='same_name', join_keys={'a': DType.STRING})",
            "A = Entity(name='same_name', join_keys={'a': DType.INT32})",
        ),
        (
            "BatchSource",
            "A = BatchSource(name='same_name', path='a', format='csv', timestamp_field='t')",
            "A = BatchSource(name='same_name', path='b', format='csv', timestamp_field='t')",
        ),
    ],
)
def test_one_name_in_two_modules_is_refused(write_package: Write, kind: str, one: str, other: str) -> None:
    package = write_package({"shared.py": SHARED, "one.py": USE + one, "other.py": USE + other})

    with pytest.raises(DefinitionError) as raised:
        discover(package)

    assert str(raised.value) == (
        f"two definitions of {kind} 'same_name', in {package}.one and in {package}.other; rename or remove one"
    )


def test_an_entity_that_two_modules_define_alike_is_one(write_package: Write) -> None:
    again = USE + "CUSTOMER = Entity(name='customer', join_keys={'customer': DType.STRING})\nTWO = make('two')"
    package = write_package({"shared.py": SHARED + "ONE = make('one')", "two.py": again})

    assert sorted(discover(package).views) == ["one", "two"]


@pytest.mark.parametrize(
    ("changes", "kind", "name"),
    [
        ("entities=[Entity(name='customer', join_keys={'id': DType.STRING})]", "Entity", "customer"),
        (
            "sources=[BatchSource(name='payments', path='x', format='csv', timestamp_field='t')]",
            "BatchSource",
            "payments",
        ),
    ],
)
def test_what_a_view_defines_for_itself_must_not_differ(
    write_package: Write, changes: str, kind: str, name: str
) -> None:
    package = write_package({"shared.py": SHARED, "one.py": USE + f"ONE = make('one', {changes})"})

    with pytest.raises(DefinitionError, match=f"FeatureView 'one' uses a {kind} '{name}' that differs from the other"):
        discover(package)


@pytest.mark.parametrize(
    ("feature", "why"),
    [
        ("last_paymnt", "FeatureService 's': no feature view 'last_paymnt'; did you mean 'last_payment'?"),
        ("last_payment:amont", "FeatureService 's': no feature in 'last_payment' 'amont'; did you mean 'amount'?"),
        ("last_payment:zzz", "FeatureService 's': no feature in 'last_payment' 'zzz'; known: amount"),
    ],
)
def test_a_service_that_names_what_is_not_there_is_refused(write_package: Write, feature: str, why: str) -> None:
    text = SHARED + f"V = make('last_payment')\nS = FeatureService(name='s', features=[{feature!r}])"

    with pytest.raises(DefinitionError) as raised:
        discover(write_package({"shared.py": text}))

    assert str(raised.value) == why


def test_a_view_and_a_service_of_one_name_are_refused(write_package: Write) -> None:
    text = SHARED + "V = make('spend')\nS = FeatureService(name='spend', features=['spend'])"
    package = write_package({"shared.py": text})

    with pytest.raises(
        DefinitionError, match=f"'spend' names both a feature view and a feature service in '{package}'"
    ):
        discover(package)
