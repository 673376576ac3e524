"""Python source as text that changes when its meaning may: no comments, layout or docstrings, on any version of Python.

Fields that only some versions of Python have are left out too, so that an upgrade makes no new version of a view.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.core.definitions import DEFINITIONS, IN_PLACE
from features.errors import DefinitionError

# What `features.core.on_demand` adds to the definitions, and the decorator that it offers.
_DEFINITIONS = DEFINITIONS | {"RequestSource"}
_DECORATOR = "on_demand"
# `kind` tells u"" from "", `ctx` follows from the place, the others came with Python 3.8 and 3.12.
_LEFT_OUT = frozenset({"ctx", "kind", "type_comment", "type_params"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """A module's source: its tree, and its top-level statements by the names that they bind or change."""

    name: str
    is_package: bool
    tree: ast.Module
    statements: dict[str, list[ast.stmt]]

    def absolute(self, statement: ast.ImportFrom) -> str:
        """The name of the module that a `from ... import` inside this one refers to."""
        if not statement.level:
            return statement.module or ""
        package = self.name if self.is_package else self.name.rpartition(".")[0]
        return importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)


def read_module(name: str, namespace: Mapping[str, Any] | None = None) -> Module | None:
    """The source of a module, which is not imported for it; None: there is no such module.

    Args:
        name: in full.
        namespace: its globals, where they are at hand: scripts and tests may have modules of equal names.

    Raises: DefinitionError: it has no readable Python source.
    """
    if namespace is None and name in sys.modules:
        namespace = vars(sys.modules[name])
    if namespace is not None:
        loader, path, is_package = namespace.get("__loader__"), namespace.get("__file__"), "__path__" in namespace
    else:
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            return None
        if spec is None:
            return None
        loader, path, is_package = spec.loader, spec.origin, spec.submodule_search_locations is not None
    try:
        # A loader may read from an archive; one that keeps no source, such as pytest's, has a file.
        read = getattr(loader, "get_source", None)
        text = read(name) if read else importlib.util.decode_source(Path(path or "").read_bytes()) if path else ""
        tree = _LeaveOut().visit(ast.parse(text))
    except (ImportError, OSError, SyntaxError, TypeError, UnicodeDecodeError) as exc:
        raise DefinitionError(
            f"the source of module {name!r} cannot be read, so no version of what uses it can be told: {exc}"
        ) from exc
    statements: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for bound in dict.fromkeys(_touched(statement)):
            statements.setdefault(bound, []).append(statement)
    return Module(name=name, is_package=is_package, tree=tree, statements=statements)


def find_function(tree: ast.Module, *, name: str, line: int) -> ast.AST | None:
    """The function or lambda (`<lambda>`) of that name that begins at a line; None: there is none, or several."""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and getattr(node, "name", "<lambda>") == name
        # A decorated function begins at its first decorator.
        and line == min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    ]
    return found[0] if len(found) == 1 else None


def used_names(node: ast.AST) -> list[tuple[str, ...]]:
    """The names in a tree, each with the attributes that are asked of it: `a.b.c` is ("a", "b", "c"). Sorted."""
    chains: set[tuple[str, ...]] = set()
    inner: set[ast.AST] = set()
    for part in ast.walk(node):
        if part in inner or not isinstance(part, ast.Attribute | ast.Name):
            continue
        attributes: list[str] = []
        root: ast.expr = part
        while isinstance(root, ast.Attribute):
            attributes.append(root.attr)
            root = root.value
            inner.add(root)
        if isinstance(root, ast.Name):
            chains.add((root.id, *reversed(attributes)))
    return sorted(chains)


def imports_of(node: ast.AST) -> Iterator[tuple[str, ast.Import | ast.ImportFrom, ast.alias]]:
    """The imports anywhere in a tree, by the name that each binds; `*` for a star import."""
    for part in ast.walk(node):
        if isinstance(part, ast.Import | ast.ImportFrom):
            for alias in part.names:
                yield alias.asname or alias.name.partition(".")[0], part, alias


def dump(node: object) -> str:
    """Like `ast.dump`, without what has no meaning; ASCII, since what `repr` escapes differs between versions."""
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({dump(_merge_text(node.values))})"
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={dump(value)}"
            for name, value in ast.iter_fields(node)
            if name not in _LEFT_OUT and value is not None and value != []
        ]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(dump(item) for item in node if not _is_text(item))}]"
    return ascii(node)


def _merge_text(parts: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, each text whole: where it is cut, and whether empty ones occur, differs by version."""
    merged: list[ast.expr] = []
    for part in parts:
        last = merged[-1] if merged else None
        if not (isinstance(part, ast.Constant) and isinstance(part.value, str)):
            merged.append(part)
        elif isinstance(last, ast.Constant) and isinstance(last.value, str):
            merged[-1] = ast.Constant(value=last.value + part.value)
        elif part.value:
            merged.append(part)
    return merged


class _LeaveOut(ast.NodeTransformer):
    """Takes from definitions what may change in place: a transform that uses an entity is no other for its owner.

    Of an on-demand function the whole decorator goes: what it says is compared as values.
    """

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in _DEFINITIONS:
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in IN_PLACE]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        kept = [decorator for decorator in node.decorator_list if not _is_on_demand(decorator)]
        if len(kept) < len(node.decorator_list):
            # A function begins at its first decorator, by which it is found.
            node.lineno = min(decorator.lineno for decorator in node.decorator_list)
            node.decorator_list = kept
        self.generic_visit(node)
        return node


def _is_on_demand(decorator: ast.expr) -> bool:
    """Whether a decorator is `on_demand(...)` or `features.on_demand(...)`."""
    if not isinstance(decorator, ast.Call):
        return False
    function = decorator.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", None)
    return name == _DECORATOR


def _is_text(node: object) -> bool:
    """Whether a statement is a string alone: a docstring, wherever it stands."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _touched(statement: ast.stmt) -> Iterator[str]:
    """The module-level names that a statement binds, also within an `if` or `try`, or whose values it may change."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (bound for bound, _, _ in imports_of(node))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield from _root(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _root(node.value.func)
        waiting.extend(ast.iter_child_nodes(node))


def _root(node: ast.expr) -> Iterator[str]:
    """The name whose value `a.b`, `a[0]` or `a.b()` reaches into; none for a plain name, which nothing changes."""
    inside = node
    while isinstance(inside, ast.Attribute | ast.Subscript | ast.Call):
        inside = inside.func if isinstance(inside, ast.Call) else inside.value
    if isinstance(inside, ast.Name) and inside is not node:
        yield inside.id
