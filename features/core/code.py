"""The code of a transform as text that changes when its meaning may: its syntax tree, and what it uses of its package.

Comments, layout and docstrings are left out. So are fields that only some versions of Python have, so that an upgrade
of the interpreter makes no new version of a view.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from features.errors import DefinitionError

_PLAIN = (bool, int, float, str, bytes, type(None))


def syntax_tree(function: Callable[..., Any]) -> str:
    """The tree of a function with the module-level names that it uses, directly or through others.

    Names of other modules of the same top-level package are followed too, unless it is the feature store's own
    machinery; closures count by the values that they hold.

    Raises: DefinitionError: the source cannot be had, or a closure holds something that has no text.
    """
    return "\n".join(_Walk().of_value(function))


class _Walk:
    """One walk over what a function uses; each name is told once."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def of_value(self, value: Any) -> Iterator[str]:
        if isinstance(value, functools.partial):
            yield "partial"
            for part in (value.func, *value.args, *(x for pair in sorted(value.keywords.items()) for x in pair)):
                yield from self.of_value(part)
        elif isinstance(value, FunctionType):
            yield from self._of_function(value)
        elif isinstance(value, list | tuple):
            yield type(value).__name__
            for item in value:
                yield from self.of_value(item)
        elif isinstance(value, dict):
            yield "dict"
            for key in sorted(value, key=repr):
                yield from self.of_value((key, value[key]))
        elif isinstance(value, _PLAIN) or type(value).__module__ in ("datetime", "decimal"):
            yield repr(value)
        elif type(value).__module__.startswith("features.core"):
            yield repr(value)
        else:
            raise DefinitionError(
                f"a transform may hold functions and plain values only, not {type(value).__name__} {value!r:.80}"
            )

    def _of_function(self, function: FunctionType) -> Iterator[str]:
        module = sys.modules.get(function.__module__) or importlib.import_module(function.__module__)
        node = _find(function, _tree(module))
        yield f"def {function.__qualname__} {_dump(node)}"
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            yield f"closure {name}"
            yield from self.of_value(cell.cell_contents)
        yield from self._of_names(node, module)

    def _of_names(self, node: ast.AST, module: ModuleType) -> Iterator[str]:
        statements = _top_level(_tree(module))
        for name in sorted({n.id for n in ast.walk(node) if isinstance(n, ast.Name)}):
            if name not in statements or (module.__name__, name) in self._told:
                continue
            self._told.add((module.__name__, name))
            statement = statements[name]
            yield f"{name}: {_dump(statement)}"
            if isinstance(statement, ast.ImportFrom):
                yield from self._of_import(statement, name, module)
            else:
                yield from self._of_names(statement, module)

    def _of_import(self, statement: ast.ImportFrom, name: str, module: ModuleType) -> Iterator[str]:
        package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
        target = (
            importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
            if statement.level
            else statement.module or ""
        )
        parents = (
            ("features.views",)
            if module.__name__.startswith("features.views")
            else (module.__name__.partition(".")[0],)
        )
        source = sys.modules.get(target)
        if source is None or not any(target == p or target.startswith(p + ".") for p in parents):
            return
        original = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
        statements = _top_level(_tree(source))
        if original in statements and (target, original) not in self._told:
            self._told.add((target, original))
            yield f"{target}.{original}: {_dump(statements[original])}"
            yield from self._of_names(statements[original], source)


@functools.cache
def _tree(module: ModuleType) -> ast.Module:
    try:
        return ast.parse(inspect.getsource(module))
    except (OSError, TypeError) as exc:
        raise DefinitionError(
            f"the source of module {module.__name__!r} cannot be read, so no version can be told: {exc}"
        ) from exc


def _find(function: FunctionType, tree: ast.Module) -> ast.AST:
    # co_firstlineno of a decorated function is its first decorator's line.
    line = function.__code__.co_firstlineno
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            decorators = getattr(node, "decorator_list", [])
            if (
                line == min([node.lineno, *(d.lineno for d in decorators)])
                and getattr(node, "name", "<lambda>") == function.__name__
            ):
                return node
    raise DefinitionError(
        f"the source of {function.__qualname__!r} was not found at line {line} of {function.__module__!r}; define it in a file"
    )


def _top_level(tree: ast.Module) -> dict[str, ast.stmt]:
    """Statement by the name that it binds at module level."""
    bound: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound[statement.name] = statement
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            bound.update({(alias.asname or alias.name).partition(".")[0]: statement for alias in statement.names})
        else:
            bound.update(
                {
                    n.id: statement
                    for n in ast.walk(statement)
                    if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                }
            )
    return bound


def _dump(node: Any) -> str:
    """Like `ast.dump`, without docstrings, empty fields and fields that only newer versions of Python know."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name in ("type_comment", "type_params", "kind", "ctx") or value is None or value == []:
                continue
            if (
                name == "body"
                and isinstance(node, ast.FunctionDef | ast.ClassDef)
                and ast.get_docstring(node, clean=False) is not None
            ):
                value = value[1:]
            fields.append(f"{name}={_dump(value)}")
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(_dump(item) for item in node)}]"
    return repr(node)
