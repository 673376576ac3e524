"""The text of a transform's code: each case compares two small modules."""

import importlib
from collections.abc import Callable, Mapping

import pytest

from features.core.code import syntax_tree
from features.errors import DefinitionError

Write = Callable[[Mapping[str, str]], str]


def tree(write: Write, text: str, **others: str) -> str:
    """The text of the function `transform` of a module, beside others in its package."""
    package = write({"view.py": text, **{f"{name}.py": other for name, other in others.items()}})
    return syntax_tree(importlib.import_module(f"{package}.view").transform)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        pytest.param("transform = lambda p: p.limit(1)", "limit(1)", "limit(2)", id="a lambda"),
        pytest.param(
            "from functools import partial\ndef f(p, n): return p.limit(n)\ntransform = partial(f, n=1)",
            "n=1",
            "n=2",
            id="a partial's argument",
        ),
        pytest.param(
            "from functools import partial\ndef f(p, n): return p.limit(n)\ntransform = partial(f, n=1)",
            "p.limit(n)",
            "p.tail(n)",
            id="a partial's function",
        ),
        pytest.param(
            "from functools import partial\ndef f(*a, **k): return a, k\ntransform = partial(f, 'n', 1)",
            "'n', 1",
            "n=1",
            id="by position or by name",
        ),
        pytest.param(
            "def make(n):\n    def inner(p): return p.limit(n)\n    return inner\ntransform = make(1)",
            "make(1)",
            "make(2)",
            id="a closure's value",
        ),
        pytest.param(
            "def make(n):\n    return lambda p: p.limit(n)\ntransform = make([[1], 2])",
            "[[1], 2]",
            "[[1, 2]]",
            id="how a closure's lists nest",
        ),
        pytest.param(
            "def make(n):\n    return lambda p, n=n: p.limit(n)\ntransform = make(1)",
            "make(1)",
            "make(2)",
            id="a default that a factory was given",
        ),
        pytest.param(
            "def make(f):\n    return lambda p: f(p)\ndef g(p): return p.limit(N)\nN = 1\ntransform = make(g)",
            "N = 1",
            "N = 2",
            id="a constant of a function in a closure",
        ),
        pytest.param(
            "def make(n):\n    return lambda p: p.limit(n)\ncut = make(1)\ndef transform(p): return cut(p)",
            "make(1)",
            "make(2)",
            id="a helper that is a closure",
        ),
        pytest.param(
            "import functools\n"
            "def deco(f):\n"
            "    @functools.wraps(f)\n"
            "    def inner(p): return f(p).distinct()\n"
            "    return inner\n"
            "@deco\n"
            "def transform(p): return p.limit(1)",
            "distinct()",
            "cache()",
            id="a decorator",
        ),
        pytest.param(
            "import functools\n"
            "def deco(f):\n"
            "    @functools.wraps(f)\n"
            "    def inner(p): return f(p).distinct()\n"
            "    return inner\n"
            "@deco\n"
            "def transform(p): return p.limit(1)",
            "p.limit(1)",
            "p.limit(2)",
            id="the function inside a decorator",
        ),
        pytest.param(
            "class Rules:\n    LIMIT = 1\n    @staticmethod\n    def apply(p): return p.limit(Rules.LIMIT)\n"
            "transform = Rules.apply",
            "LIMIT = 1",
            "LIMIT = 2",
            id="a static method and its class",
        ),
        pytest.param(
            "class Rules:\n    LIMIT = 1\ndef transform(p): return p.limit(Rules.LIMIT)",
            "LIMIT = 1",
            "LIMIT = 2",
            id="a class that is used",
        ),
        pytest.param(
            "try:\n    from math import inf\nexcept ImportError:\n    inf = 1\ndef transform(p): return p.limit(inf)",
            "inf = 1",
            "inf = 2",
            id="a name bound in a try",
        ),
        pytest.param(
            "from math import floor as cut\ndef transform(p): return cut(p)", "floor", "ceil", id="another import"
        ),
        pytest.param("def transform(p):\n    return", "return", "pass", id="a statement"),
        pytest.param("def transform(p): return p.x('é')", "é", "è", id="a letter beyond ASCII"),
    ],
)
def test_a_change_of_code_shows(write_package: Write, text: str, old: str, new: str) -> None:
    assert text.count(old) == 1

    assert tree(write_package, text) != tree(write_package, text.replace(old, new))


@pytest.mark.parametrize(
    "uses",
    [
        pytest.param("from .lib import cut\ndef transform(p): return cut(p)", id="relative"),
        pytest.param("from PACKAGE.lib import cut\ndef transform(p): return cut(p)", id="absolute"),
        pytest.param("from . import lib\ndef transform(p): return lib.cut(p)", id="of a module"),
        pytest.param("from PACKAGE import lib as l\ndef transform(p): return l.cut(p)", id="of a renamed module"),
        pytest.param("import PACKAGE.lib\ndef transform(p): return PACKAGE.lib.cut(p)", id="by its full name"),
        pytest.param("import PACKAGE.lib as l\ndef transform(p): return l.cut(p)", id="by a short name"),
        pytest.param("def transform(p):\n    from .lib import cut\n    return cut(p)", id="inside the function"),
        pytest.param("from .lib import *\ndef transform(p): return cut(p)", id="with a star"),
        pytest.param("from .again import cut\ndef transform(p): return cut(p)", id="through another module"),
        pytest.param("from .again import CUTS\ndef transform(p): return CUTS[0](p)", id="inside a list"),
    ],
)
def test_code_of_other_modules_counts_however_it_is_imported(write_package: Write, uses: str) -> None:
    lib = "N = 1\ndef cut(p): return p.limit(N)\n"
    again = "from .lib import cut\nCUTS = [cut]\n"

    assert tree(write_package, uses, lib=lib, again=again) != tree(
        write_package, uses, lib=lib.replace("N = 1", "N = 2"), again=again
    )


def test_whether_a_module_was_imported_before_makes_no_difference(write_package: Write) -> None:
    package = write_package(
        {
            "view.py": "def transform(p):\n    from .lib import cut\n    return cut(p)",
            "lib.py": "def cut(p): return p.limit(1)",
        }
    )
    transform = importlib.import_module(f"{package}.view").transform
    before = syntax_tree(transform)

    importlib.import_module(f"{package}.lib")

    assert syntax_tree(transform) == before


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("def transform(p): return transform(p)", id="by name"),
        pytest.param(
            "def make():\n    def inner(p): return inner(p)\n    return inner\ntransform = make()", id="by closure"
        ),
        pytest.param(
            "from . import view\ndef helper(p): return view.transform(p)\ndef transform(p): return helper(p)",
            id="through its own module",
        ),
    ],
)
def test_recursion_comes_to_an_end(write_package: Write, text: str) -> None:
    assert tree(write_package, text) == tree(write_package, "# again\n" + text)


def test_imports_in_a_circle_come_to_an_end(write_package: Write) -> None:
    view = "from .lib import cut\ndef transform(p): return cut(p)"

    assert tree(write_package, view, lib="from .more import cut", more="def cut(p):\n    from .lib import cut")


def test_which_of_two_functions_is_used_shows_although_both_are_told(write_package: Write) -> None:
    text = "def f(p): return 1\ndef g(p): return 2\nx, y = f, g\ndef transform(p): return f(g(x(p)))"

    assert tree(write_package, text) != tree(write_package, text.replace("f(g(x(p)))", "f(g(y(p)))"))
    text = "def make(a, b, c):\n    return lambda p: a(b(c(p)))\ndef f(p): return 1\ndef g(p): return 2\n"
    assert tree(write_package, text + "transform = make(f, g, f)") != tree(
        write_package, text + "transform = make(f, g, g)"
    )


def test_definitions_in_a_closure_count_without_what_changes_in_place(write_package: Write) -> None:
    text = """
        from features import DType, Entity
        def make(entity):
            return lambda p: p.select(*entity.join_keys)
        transform = make(Entity(name="a", join_keys={"k": DType.STRING}, owner="me"))
    """
    before = tree(write_package, text)

    assert tree(write_package, text.replace('"me"', '"you"')) == before
    assert tree(write_package, text.replace("STRING", "INT64")) != before


def test_definitions_that_a_transform_names_count_without_what_changes_in_place(write_package: Write) -> None:
    text = """
        from features import DType, Entity
        OWNER = "me"
        KEY = Entity(name="a", join_keys={"k": DType.STRING}, owner=OWNER)
        def transform(p):
            return p.select(*KEY.join_keys)
    """
    before = tree(write_package, text)

    assert tree(write_package, text.replace('"me"', '"you"')) == before
    assert tree(write_package, text.replace("STRING", "INT64")) != before


def test_the_order_of_a_set_makes_no_difference(write_package: Write) -> None:
    text = "def make(n):\n    return lambda p: n\ntransform = make({'a', 'b', 'c', 'd'})"

    assert tree(write_package, text) == tree(write_package, text.replace("'a', 'b', 'c', 'd'", "'d', 'b', 'a', 'c'"))


def test_code_of_libraries_is_named_and_not_told(write_package: Write) -> None:
    told = tree(write_package, "import textwrap\nfrom json import dumps\ndef transform(p): return dumps(textwrap, p)")

    assert "dumps: json dumps" in told
    assert "JSONEncoder" not in told


def test_a_wrapper_from_a_library_is_named_and_what_it_wraps_is_told(write_package: Write) -> None:
    text = """
        from contextlib import contextmanager
        @contextmanager
        def transform(p):
            yield p.limit(1)
    """
    before = tree(write_package, text)

    assert "GeneratorContextManager" not in before
    assert tree(write_package, text.replace("limit(1)", "limit(2)")) != before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(
            "def make(n):\n    return lambda p: n\ntransform = make(open)", "not builtin_function_or_method", id="C"
        ),
        pytest.param("class T:\n    def go(self, p): return p\ntransform = T().go", "not method", id="a method"),
        pytest.param(
            "class T:\n    def __call__(self, p): return p\ntransform = T()", "plain values only, not T", id="an object"
        ),
        pytest.param("exec('def transform(p): return p')", "was not found at line 1", id="no source"),
        pytest.param(
            "other, transform = lambda p: 1, lambda p: 2", "begin no two lambdas on one line", id="two lambdas"
        ),
    ],
)
def test_code_that_cannot_be_told_is_an_error(write_package: Write, text: str, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        tree(write_package, text)
