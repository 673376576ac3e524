"""Finding definitions: every module of the views package is imported, and what stands at its top level collected."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import TypeVar

from features.core.definitions import Entity, FeatureService, FeatureView
from features.core.on_demand import OnDemandFeatureView, RequestSource
from features.core.references import Reference
from features.core.sources import TimedSource
from features.core.upstreams import check_upstreams
from features.errors import ConfigError, DefinitionError, FeatureStoreError, NotFoundError

_Definition = TypeVar(
    "_Definition", Entity, TimedSource, FeatureView, FeatureService, OnDemandFeatureView, RequestSource
)
_Used = Entity | TimedSource | RequestSource
_KIND_WORDS: dict[type, str] = {
    FeatureView: "a feature view",
    OnDemandFeatureView: "an on-demand feature view",
    FeatureService: "a feature service",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Definitions:
    """All that a views package defines, by name."""

    views: dict[str, FeatureView]
    services: dict[str, FeatureService]
    on_demand: dict[str, OnDemandFeatureView] = field(default_factory=dict)

    def view(self, name: str) -> FeatureView:
        """Raises: NotFoundError: no view of that name is defined in code."""
        if name not in self.views:
            raise NotFoundError.of("feature view", name, self.views, hint="the views package defines none")
        return self.views[name]


def discover(package: str) -> Definitions:
    """The definitions in a package of views and its submodules, checked against each other.

    Raises:
        ConfigError: there is no such package.
        DefinitionError: a module does not import, two definitions share a name, a service or an on-demand
            function names something that is not defined, or views cannot read each other; the message names where.
    """
    modules = list(_import_all(package))
    entities = _collect(modules, Entity)
    sources = _collect(modules, TimedSource)
    request_sources = _collect(modules, RequestSource)
    views = _collect(modules, FeatureView)
    on_demand = _collect(modules, OnDemandFeatureView)
    services = _collect(modules, FeatureService)
    for view in views.values():
        for used in view.entities:
            _check_same(used, entities.setdefault(used.name, used), view)
        for source in view.sources:
            # A view that is read is told by its own name: that of its source is between it and the transform.
            if isinstance(source, TimedSource):
                _check_same(source, sources.setdefault(source.name, source), view)
    for derived in on_demand.values():
        for request in derived.request_sources:
            _check_same(request, request_sources.setdefault(request.name, request), derived)
    if not (entities or sources or views or on_demand or services):
        raise ConfigError(f"the views module {package!r} defines nothing; is it the one that conf means?")
    _check_names_apart(package, views, on_demand, services)
    check_upstreams(views, on_demand)
    for derived in on_demand.values():
        _check_inputs(derived, views, on_demand)
    for service in services.values():
        _check_references(service, views, on_demand)
    return Definitions(views=views, services=services, on_demand=on_demand)


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
                    f"two definitions of {type(item).__name__} {item.name!r}, in {where[item.name]} "
                    f"and in {module.__name__}; rename or remove one"
                )
    return found


def _check_same(used: _Used, known: _Used, view: FeatureView | OnDemandFeatureView) -> None:
    if used != known:
        raise DefinitionError(
            f"{type(view).__name__} {view.name!r} uses a {type(used).__name__} {used.name!r} that differs from the "
            "other of that name; define it once and import it"
        )


def _check_names_apart(package: str, *kinds: Mapping[str, FeatureView | OnDemandFeatureView | FeatureService]) -> None:
    """One name is one thing: a reference says no kind."""
    named: dict[str, str] = {}
    for definitions in kinds:
        for name, item in definitions.items():
            kind = _KIND_WORDS[type(item)]
            if name in named:
                raise DefinitionError(f"{name!r} names both {named[name]} and {kind} in {package!r}; rename one")
            named[name] = kind


def _check_inputs(
    derived: OnDemandFeatureView, views: Mapping[str, FeatureView], on_demand: Mapping[str, OnDemandFeatureView]
) -> None:
    me = f"OnDemandFeatureView {derived.name!r}"
    for reference in derived.references:
        if reference.name in on_demand:
            raise DefinitionError(
                f"{me}: {str(reference)!r} is on demand itself; read stored features, and call its function, "
                f"{reference.name}.function, for the rest"
            )
        _check_reference(reference, views, owner=me)


def _check_references(
    service: FeatureService, views: Mapping[str, FeatureView], on_demand: Mapping[str, OnDemandFeatureView]
) -> None:
    for reference in service.references:
        _check_reference(reference, {**views, **on_demand}, owner=f"FeatureService {service.name!r}")


def _check_reference(
    reference: Reference, views: Mapping[str, FeatureView | OnDemandFeatureView], *, owner: str
) -> None:
    # A pinned version may be older than the code: the registry judges that at apply.
    if reference.version is not None:
        return
    view = views.get(reference.name)
    if view is None:
        raise DefinitionError(f"{owner}: {NotFoundError.of('feature view', reference.name, views)}")
    names = [f.name for f in view.features]
    if reference.feature is not None and reference.feature not in names:
        raise DefinitionError(f"{owner}: {NotFoundError.of(f'feature in {view.name!r}', reference.feature, names)}")
