"""The code of a transform as text that changes when its meaning may: its syntax tree, and what it uses of its package.

docs/decisions/definition-hash.md says what is followed, and what is not.
"""

import ast
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any

from features.core.definitions import IN_PLACE
from features.core.syntax import Module, dump, find_function, imports_of, read_module, used_names
from features.errors import DefinitionError

_PLAIN = (bool, int, float, str, bytes, type(None))


def syntax_tree(function: Callable[..., Any]) -> str:
    """The tree of a function with the module-level names that it uses, directly or through others.

    Names of other modules of the same top-level package are followed too, unless it is the feature store's own
    machinery; closures, and the arguments of a partial, count by the values that they hold.

    Raises: DefinitionError: the source cannot be had, or a closure holds something that has no text.
    """
    return "\n".join(_Walk(function).of_value(function))


class _Walk:
    """One walk over what a function uses; each name and function is told once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        while isinstance(function, functools.partial):
            function = function.func
        function = inspect.unwrap(function)
        self._package = _followed_package(getattr(function, "__module__", None) or "")
        self._modules: dict[str, Module | None] = {}
        # What was told already is only counted: the first time says it all, and a cycle would have no end.
        self._told: dict[tuple[Any, ...], int] = {}
        self._open: set[tuple[Any, ...]] = set()

    def of_value(self, value: Any) -> Iterator[str]:
        if isinstance(value, functools.partial):
            yield "partial"
            yield from self.of_value((value.func, value.args, value.keywords))
        elif isinstance(value, FunctionType):
            yield from self._of_function(value)
        elif isinstance(value, list | tuple):
            yield f"{type(value).__name__} of {len(value)}"
            for item in value:
                yield from self.of_value(item)
        elif isinstance(value, set | frozenset):
            yield from self.of_value(["set", *sorted(value, key=ascii)])
        elif isinstance(value, Mapping):
            yield from self.of_value(["dict", *((key, value[key]) for key in sorted(value, key=ascii))])
        elif isinstance(value, _PLAIN) or type(value).__module__ in ("datetime", "decimal"):
            yield ascii(value)
        elif dataclasses.is_dataclass(value) and _is_within(type(value).__module__, "features.core"):
            told = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if _counts(f, value)}
            yield type(value).__name__
            yield from self.of_value(told)
        else:
            raise DefinitionError(
                f"a transform may hold functions and plain values only, not {type(value).__name__} {value!r:.80}"
            )

    def _of_function(self, function: FunctionType) -> Iterator[str]:
        # Not function.__module__ and __name__: functools.wraps copies those of the function that is wrapped.
        name, code = function.__globals__.get("__name__", ""), function.__code__
        if not _is_within(name, self._package):
            # A wrapper from a library: its own code is not the team's to version.
            yield f"{name}.{function.__qualname__}"
            if hasattr(function, "__wrapped__"):
                yield from self.of_value(function.__wrapped__)
            return
        if self._is_told(id(function)):
            yield f"{function.__qualname__}: see {self._told[id(function),]}"
            return
        module = self._module(name, function.__globals__)
        node = None if module is None else find_function(module.tree, name=code.co_name, line=code.co_firstlineno)
        if module is None or node is None:
            raise DefinitionError(
                f"the source of {function.__qualname__!r} was not found at line {code.co_firstlineno} of {name!r}; "
                "define it in a file, and begin no two lambdas on one line"
            )
        yield f"{function.__qualname__}:"
        yield dump(node)
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            yield f"closure {variable}"
            yield from self.of_value(cell.cell_contents)
        if "<locals>" in function.__qualname__:
            # At module level, the text of a default and the names in it tell its value; inside a function they do not.
            yield from self.of_value([function.__defaults__, function.__kwdefaults__])
        yield from self._of_tree(node, module)

    def _of_tree(self, node: ast.AST, module: Module) -> Iterator[str]:
        """What the names in a tree stand for."""
        imported = {bound: (statement, alias) for bound, statement, alias in imports_of(node)}
        for chain in used_names(node):
            if chain[0] in imported:
                yield from self._of_import(*imported[chain[0]], chain[1:], module)
            yield from self._of_name(chain, module)

    def _of_name(self, chain: tuple[str, ...], module: Module) -> Iterator[str]:
        """What a module binds to a name; `chain` is the name and the attributes that are asked of it."""
        name, *attributes = chain
        for statement in module.statements.get(name, []):
            for bound, imported, alias in imports_of(statement):
                if bound == name:
                    yield from self._of_import(imported, alias, attributes, module)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            place = (module.name, statement.lineno, statement.col_offset)
            if self._is_told(*place):
                yield f"{name}: see {self._told[place]}"
                continue
            yield f"{name}: {dump(statement)}"
            yield from self._of_tree(statement, module)
        if name not in module.statements:
            for statement in module.statements.get("*", []):
                for _, star, alias in imports_of(statement):
                    if isinstance(star, ast.ImportFrom) and alias.name == "*":
                        yield from self._of_member(module.absolute(star), chain)

    def _of_import(
        self, statement: ast.Import | ast.ImportFrom, alias: ast.alias, attributes: Sequence[str], module: Module
    ) -> Iterator[str]:
        if isinstance(statement, ast.ImportFrom):
            target, path = module.absolute(statement), (alias.name, *attributes)
        else:
            # `import a.b` binds a, `import a.b as c` binds a.b.
            target, path = alias.name if alias.asname else alias.name.partition(".")[0], tuple(attributes)
        if not _is_within(target, self._package) and not _is_within(self._package, target):
            yield f"{alias.asname or alias.name}: {target} {alias.name}"
        key = (module.name, target, path)
        if key in self._open:
            return
        self._open.add(key)
        yield from self._of_member(target, path)
        self._open.remove(key)

    def _of_member(self, target: str, path: Sequence[str]) -> Iterator[str]:
        """What a name, and the attributes asked of it, is in a module or in its submodules."""
        if not path:
            return
        deeper = f"{target}.{path[0]}"
        if self._package.startswith(target + "."):
            yield from self._of_member(deeper, path[1:])
        if not _is_within(target, self._package):
            return
        module = self._module(target)
        if module is None:
            return
        if path[0] not in module.statements and module.is_package and self._module(deeper) is not None:
            yield from self._of_member(deeper, path[1:])
        else:
            yield from self._of_name(tuple(path), module)

    def _module(self, name: str, namespace: Mapping[str, Any] | None = None) -> Module | None:
        if name not in self._modules:
            self._modules[name] = read_module(name, namespace)
        return self._modules[name]

    def _is_told(self, *place: Any) -> bool:
        """Whether something was told before; from now on it was."""
        is_told = place in self._told
        self._told.setdefault(place, len(self._told))
        return is_told


def _counts(field: dataclasses.Field[Any], definition: Any) -> bool:
    """Whether a field of a definition tells something: what came with a later release does where it is set."""
    if field.name in IN_PLACE:
        return False
    if not field.metadata.get("unsaid"):
        return True
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return bool(getattr(definition, field.name) != default)


def _followed_package(module: str) -> str:
    """The package whose modules count as part of a function: its top-level one, or of the feature store its views."""
    top = module.partition(".")[0]
    if top != "features":
        return top
    return "features.views" if _is_within(module, "features.views") else module.rpartition(".")[0]


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")
