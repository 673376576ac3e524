"""What the registry holds of an on-demand feature view: its canonical JSON, and the version that it describes.

A version names the versions of the views that it reads. When one of these changes, applying makes a new version of the
on-demand view too: equal hash, equal values.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from features.core.applied import AppliedView, RequestedFeature
from features.core.canonical import definition_hash
from features.core.definitions import Feature
from features.core.dtypes import DType
from features.core.on_demand import OnDemandFeatureView, RequestSource
from features.core.references import Reference, parse_reference
from features.errors import StaleCodeError

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class AppliedOnDemandView:
    """One version of an on-demand feature view as it was applied, without its function.

    inputs: the stored features that it reads, of the versions that it reads them, and request sources, in the order in
        which the function sees their columns.
    """

    name: str
    version: int
    definition_hash: str
    inputs: tuple[RequestedFeature | RequestSource, ...]
    features: tuple[Feature, ...]
    mode: str
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def stored_inputs(self) -> tuple[RequestedFeature, ...]:
        """The stored features that it reads."""
        return tuple(item for item in self.inputs if isinstance(item, RequestedFeature))

    @property
    def input_types(self) -> Mapping[str, DType]:
        """The columns that the function is given, and their types, in order."""
        types: dict[str, DType] = {}
        for item in self.inputs:
            types.update({item.feature.name: item.feature.dtype} if isinstance(item, RequestedFeature) else item.schema)
        return types

    @property
    def request_columns(self) -> Mapping[str, DType]:
        """The columns that the request has to bring, and their types."""
        return {
            name: dtype
            for item in self.inputs
            if isinstance(item, RequestSource)
            for name, dtype in item.schema.items()
        }

    @property
    def pinned_inputs(self) -> tuple[str, ...]:
        """The stored features that it reads, as `view@version:feature type`: what identifies them, as plain text."""
        return tuple(f"{i.view.reference}:{i.feature.name} {i.feature.dtype}" for i in self.stored_inputs)

    @property
    def join_keys(self) -> Mapping[str, DType]:
        """The join keys of all views that it reads."""
        return {key: dtype for item in self.stored_inputs for key, dtype in item.view.join_keys.items()}

    def feature(self, name: str) -> Feature:
        """The feature of that name. Raises: KeyError."""
        return {f.name: f for f in self.features}[name]


@dataclass(frozen=True, slots=True)
class DerivedFeature:
    """One column of an answer: a feature that one version of an on-demand feature view computes."""

    view: AppliedOnDemandView
    feature: Feature


Requested = RequestedFeature | DerivedFeature


def on_demand_definition(view: OnDemandFeatureView) -> Json:
    """What makes a version, save the versions of the views that it reads: `pin_inputs` adds those.

    Raises: DefinitionError: the function's source cannot be read.
    """
    inputs: list[Json] = []
    for item in view.inputs:
        if isinstance(item, RequestSource):
            inputs.append({"request": item.name, "schema": [[name, str(dtype)] for name, dtype in item.schema.items()]})
        else:
            inputs.append({"feature": item})
    return {
        "name": view.name,
        "inputs": inputs,
        "features": [[f.name, str(f.dtype)] for f in view.features],
        "mode": view.mode,
        "function": hashlib.sha256(view.tree.encode()).hexdigest(),
    }


def pin_inputs(definition: Json, find: Callable[[Reference], tuple[int, str]]) -> Json:
    """The definition with the version and type of each stored feature that it reads.

    Args:
        definition: of `on_demand_definition`.
        find: the version that a reference stands for, and the type of the feature there.
    """
    inputs = []
    for item in definition["inputs"]:
        if "feature" in item:
            reference = parse_reference(item["feature"])
            version, dtype = find(reference)
            pinned = Reference(reference.name, version, reference.feature)
            inputs.append({"feature": str(pinned), "dtype": dtype})
        else:
            inputs.append(item)
    return {**definition, "inputs": inputs}


def input_types(definition: Json) -> dict[str, DType]:
    """The columns that the function of a pinned definition is given, and their types, in order."""
    types: dict[str, DType] = {}
    for item in definition["inputs"]:
        if "feature" in item:
            types[parse_reference(item["feature"]).feature or ""] = DType.parse(item["dtype"])
        else:
            types.update({name: DType.parse(dtype) for name, dtype in item["schema"]})
    return types


def on_demand_metadata(view: OnDemandFeatureView) -> Json:
    """What may change in place: no value depends on it. Golden rows stay with the code."""
    pins = sorted(f"{read.name}:{read.feature}" for read in view.references if read.version is not None)
    return {
        "description": view.description,
        "owner": view.owner,
        "tags": dict(sorted(view.tags.items())),
        "features": {
            f.name: {"unit": f.unit, "description": f.description, "tags": dict(sorted(f.tags.items()))}
            for f in view.features
        },
        "sources": {source.name: {"description": source.description} for source in view.request_sources},
        # A definition names the version of every input; of these the code does, so serving takes no other.
        **({"pins": pins} if pins else {}),
    }


def on_demand_pins(metadata: Json) -> frozenset[str]:
    """The stored features that a version reads of versions which its code names, as `view:feature`."""
    return frozenset(metadata.get("pins", ()))


def applied_on_demand_view(
    definition: Json, metadata: Json, *, version: int, find_view: Callable[[Reference], AppliedView]
) -> AppliedOnDemandView:
    """The version that the two parts describe. find_view: the view version that a reference stands for."""
    inputs: list[RequestedFeature | RequestSource] = []
    for item in definition["inputs"]:
        if "feature" in item:
            reference = parse_reference(item["feature"])
            view = find_view(reference)
            inputs.append(RequestedFeature(view, view.feature(reference.feature or "")))
        else:
            schema = {name: DType.parse(dtype) for name, dtype in item["schema"]}
            about = metadata["sources"].get(item["request"], {})
            inputs.append(RequestSource(name=item["request"], schema=schema, **about))
    return AppliedOnDemandView(
        name=definition["name"],
        version=version,
        definition_hash=definition_hash(definition),
        inputs=tuple(inputs),
        features=tuple(
            Feature(name, DType.parse(dtype), **metadata["features"].get(name, {}))
            for name, dtype in definition["features"]
        ),
        mode=definition["mode"],
        description=metadata["description"],
        owner=metadata["owner"],
        tags=metadata["tags"],
    )


def check_on_demand_code(
    code: OnDemandFeatureView | None, *, reference: str, wanted_hash: str, pinned_inputs: Sequence[str]
) -> OnDemandFeatureView:
    """The code, which is the one that was applied as a version.

    Args:
        code: what the views package defines under the version's name; None: nothing.
        reference: the version, as `name@version`.
        wanted_hash, pinned_inputs: of the version.

    Raises: StaleCodeError: the code is another, or gone.
    """
    if code is None:
        raise StaleCodeError(f"the views package here has nothing of {reference}; deploy the code that was applied")
    pinned = {}
    for text in pinned_inputs:
        stored, _, dtype = text.partition(" ")
        known = parse_reference(stored)
        pinned[known.name, known.feature] = (known.version or 0, dtype)

    def find(asked: Reference) -> tuple[int, str]:
        version, dtype = pinned.get((asked.name, asked.feature), (0, ""))
        return asked.version or version, dtype

    found = definition_hash(pin_inputs(on_demand_definition(code), find))
    if found != wanted_hash:
        raise StaleCodeError(
            f"the code of {code.name!r} here ({found[:12]}) is not that of {reference} ({wanted_hash[:12]}); look at "
            "`features plan`, then run `features apply`, or deploy the code that was applied"
        )
    return code
