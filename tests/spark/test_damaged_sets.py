"""Saved sets whose manifest was damaged, or whose functions give other values: a rebuild says which it is."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from features.errors import RegistryError, StorageError
from features.registry.schema import manifests
from tests import training_desk
from tests.training_desk import Desk, open_desk

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
# What a library would do after an upgrade: the function's code is the same, its values are not.
SCALED = """
    from pathlib import Path
    FACTOR = Path(FACTOR_FILE)
    @on_demand(inputs=["last:amount"], returns=[Feature("scaled", DType.FLOAT64)], mode="arrow")
    def scale(batch):
        return pa.table({{"scaled": pc.multiply(batch["amount"], float(FACTOR.read_text()))}})
"""


@pytest.fixture
def desk(spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A store with a function whose values depend on a file."""
    (tmp_path / "factor").write_text("2.0")
    added = SCALED.replace("FACTOR_FILE", repr(str(tmp_path / "factor")))
    monkeypatch.setattr(training_desk, "DEFINITIONS", training_desk.DEFINITIONS + added)
    yield from open_desk(tmp_path, views=("last",))


def test_a_function_that_gives_other_values_is_told_and_what_has_changed_since_is_named(desk: Desk) -> None:
    saved = desk.ask(["last:amount", "scale:scaled"]).save("scaled")
    (desk.folder / "factor").write_text("3.0")
    with pytest.raises(StorageError) as told:
        desk.store.rebuild("scaled")
    assert "(to tell by statistics, in scaled); an on-demand function, or a library that it calls" in str(told.value)
    assert "numpy" not in str(told.value)

    rewrite(desk, {**saved.content, "versions": {**saved.content["versions"], "numpy": "1.0"}})
    with pytest.raises(StorageError, match=r"since then: .*numpy 1\.0 -> "):
        desk.store.rebuild("scaled")


def test_a_manifest_that_lacks_what_a_rebuild_takes_is_named_with_what_it_lacks(desk: Desk) -> None:
    content = desk.ask(["scale:scaled"]).save("hurt").content
    # These say nothing that a rebuild of this set reads.
    idle = {"version", "format", "latest_at", "splits"}
    for field in content.keys() - idle:
        rewrite(desk, {name: value for name, value in content.items() if name != field})
        with pytest.raises(RegistryError, match=rf"hurt@1 was damaged: it lacks {re.escape(field)};"):
            desk.store.rebuild("hurt")
    rewrite(desk, {**content, "views": [{"view": "last@1"}]})
    with pytest.raises(RegistryError, match="lacks definition_hash in views, features in views, position in views"):
        desk.store.rebuild("hurt")
    rewrite(desk, content)
    assert desk.store.rebuild("hurt").content_hash == content["content_hash"]


def test_a_save_leaves_no_mark_and_no_leftover_beside_its_files(desk: Desk) -> None:
    saved = desk.ask(["last:amount"]).save("clean")
    assert sorted(path.name for path in Path(saved.path).parent.iterdir()) == ["data", "spine"]
    (Path(saved.path).parents[1] / "odd" / "data").mkdir(parents=True)
    assert desk.store.training_set_leftovers() == (str(Path(saved.path).parents[1] / "odd"),)


def rewrite(desk: Desk, content: Mapping[str, Any]) -> None:
    with desk.store.registry._database.write() as connection:
        connection.execute(update(manifests).values(content=dict(content)))
