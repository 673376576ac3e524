"""Finding definitions: every module of the views package is imported, and what stands at its top level collected."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import TypeVar

from features.core.definitions import BatchSource, Entity, FeatureService, FeatureView
from features.errors import ConfigError, DefinitionError, FeatureStoreError, NotFoundError

_Definition = TypeVar("_Definition", Entity, BatchSource, FeatureView, FeatureService)


@dataclass(frozen=True, kw_only=True, slots=True)
class Definitions:
    """All that a views package defines, by name."""

    views: dict[str, FeatureView]
    services: dict[str, FeatureService]

    def view(self, name: str) -> FeatureView:
        """Raises: NotFoundError: no view of that name is defined in code."""
        if name not in self.views:
            raise NotFoundError.of("feature view", name, self.views, hint="the views package defines none")
        return self.views[name]


def discover(package: str) -> Definitions:
    """The definitions in a package of views and its submodules, checked against each other.

    Raises:
        ConfigError: there is no such package.
        DefinitionError: a module does not import, two definitions share a name, or a service names something that is
            not defined; the message names the modules.
    """
    modules = list(_import_all(package))
    entities = _collect(modules, Entity)
    sources = _collect(modules, BatchSource)
    views = _collect(modules, FeatureView)
    services = _collect(modules, FeatureService)
    for view in views.values():
        for used in view.entities:
            _check_same("Entity", used, entities.setdefault(used.name, used), view)
        for source in view.sources:
            _check_same("BatchSource", source, sources.setdefault(source.name, source), view)
    for service in services.values():
        _check_references(service, views)
    if not (entities or sources or views or services):
        raise ConfigError(f"the views module {package!r} defines nothing; is it the one that conf means?")
    clash = sorted(set(views) & set(services))
    if clash:
        raise DefinitionError(
            f"{clash[0]!r} names both a feature view and a feature service in {package!r}; rename one"
        )
    return Definitions(views=views, services=services)


def _import_all(package: str) -> Iterator[ModuleType]:
    try:
        root = importlib.import_module(package)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (package == exc.name or package.startswith(exc.name + ".")):
            raise ConfigError(
                f"conf names the views module {package!r}, which cannot be imported; is its folder on PYTHONPATH?"
            ) from exc
        raise DefinitionError(f"module {package!r} does not import: {exc}") from exc
    except FeatureStoreError as exc:
        raise DefinitionError(f"module {package!r}: {exc}") from exc
    except (Exception, SystemExit) as exc:  # boundary: a team's own module may raise anything, and even exit
        where = _last_line_of_module(exc, package)
        raise DefinitionError(f"module {package!r} does not import: {type(exc).__name__}: {exc}{where}") from exc
    yield root
    for info in pkgutil.iter_modules(getattr(root, "__path__", [])):
        yield from _import_all(f"{package}.{info.name}")


def _last_line_of_module(exc: BaseException, package: str) -> str:
    """Where in the module it went wrong, as ` (file.py, line 6)`, or nothing."""
    frames = [(f.f_globals.get("__name__"), f.f_code.co_filename, n) for f, n in walk_tb(exc.__traceback__)]
    places = [f" ({Path(file).name}, line {line})" for name, file, line in frames if name == package]
    return places[-1] if places else ""


def _collect(modules: list[ModuleType], kind: type[_Definition]) -> dict[str, _Definition]:
    found: dict[str, _Definition] = {}
    where: dict[str, str] = {}
    for module in modules:
        for item in vars(module).values():
            if not isinstance(item, kind):
                continue
            known = found.setdefault(item.name, item)
            where.setdefault(item.name, module.__name__)
            if known is not item and known != item:
                raise DefinitionError(
                    f"two definitions of {kind.__name__} {item.name!r}, in {where[item.name]} "
                    f"and in {module.__name__}; rename or remove one"
                )
    return found


def _check_same(kind: str, used: Entity | BatchSource, known: Entity | BatchSource, view: FeatureView) -> None:
    if used != known:
        raise DefinitionError(
            f"FeatureView {view.name!r} uses a {kind} {used.name!r} that differs from the other of that name; "
            "define it once and import it"
        )


def _check_references(service: FeatureService, views: dict[str, FeatureView]) -> None:
    for reference in service.references:
        view = views.get(reference.name)
        if view is None:
            # A pinned version may be older than the code: the registry judges that at apply.
            if reference.version is not None:
                continue
            raise DefinitionError(
                f"FeatureService {service.name!r}: {NotFoundError.of('feature view', reference.name, views)}"
            )
        names = [f.name for f in view.features]
        if reference.version is None and reference.feature is not None and reference.feature not in names:
            unknown = NotFoundError.of(f"feature in {view.name!r}", reference.feature, names)
            raise DefinitionError(f"FeatureService {service.name!r}: {unknown}")
