"""`features training-set` on what was saved, where no Spark is needed: leftovers, damaged manifests, outputs."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.cli.training import check_output
from features.errors import UsageError
from features.registry import Registry
from tests.projects import Project


@pytest.fixture
def registry(project: Project) -> Iterator[Registry]:
    """That of the project."""
    with Registry.open(f"sqlite:///{project.folder / '.state' / 'registry.db'}") as opened:
        yield opened


def content(folder: Path, name: str, save: str) -> dict[str, Any]:
    """A manifest of files in a warehouse, written as a path."""
    path = f"{folder}/training_sets/{name}/{save}"
    return {
        "content_hash": "c0ffee", "rows": 1, "path": f"{path}/data", "spine_path": f"{path}/spine", "columns": ["x"],
        "known_at": "created", "views": [], "files": [],
    }  # fmt: skip


def save(registry: Registry, warehouse: Path, name: str, folder: str) -> None:
    (warehouse / "training_sets" / name / folder / "data").mkdir(parents=True)
    registry.save_manifest(name, content(warehouse, name, folder), hold=False)


@pytest.mark.parametrize("written", ["house", "{folder}/house", "file://{folder}/house", "./house/"])
def test_leftovers_are_the_folders_that_no_manifest_names_however_the_warehouse_is_written(
    project: Project, registry: Registry, written: str
) -> None:
    warehouse = project.folder / "house"
    save(registry, warehouse, "delays", "11aa")
    save(registry, warehouse, "delays", "22bb")
    (warehouse / "training_sets" / "delays" / "33cc" / "data").mkdir(parents=True)
    (warehouse / "training_sets" / "never" / "44dd").mkdir(parents=True)
    options = ("training-set", "leftovers", "--set", f"warehouse={written.format(folder=project.folder)}")

    told = project.run(*options, "--json")

    assert told.code == 0, told.err
    found = [path.rpartition("/training_sets/")[2] for path in told.data["leftovers"]]
    assert found == ["delays/33cc", "never/44dd"]
    assert "another registry" in project.run(*options).out
    assert sorted(path.name for path in warehouse.rglob("??[a-d][a-d]")) == ["11aa", "22bb", "33cc", "44dd"]


def test_a_warehouse_without_sets_has_no_leftovers(project: Project) -> None:
    assert project.run("training-set", "leftovers", "--json").data == {"leftovers": []}
    assert "nothing is left over" in project.run("training-set", "leftovers").out
    assert project.run("training-set", "leftovers", "delays").code == 2


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("content = substr(content, 1, length(content) - 2)", "entry of hurt@1 was damaged ("),
        ("content = replace(content, 'rows', 'rose')", "entry of hurt@1 was damaged: it lacks rows"),
        ("content = replace(content, '[]', '[{}]')", "it lacks definition_hash in views, features in views"),
        ("content = replace(content, '[]', '7')", "it lacks a list in views"),
    ],
)
def test_a_damaged_manifest_is_named_and_the_others_are_listed(
    project: Project, registry: Registry, statement: str, message: str
) -> None:
    for name in ("first", "hurt", "last"):
        save(registry, project.folder / "house", name, f"{name}-1")
    with registry._database.write() as connection:
        connection.exec_driver_sql(f"UPDATE manifests SET {statement} WHERE name = 'hurt'")

    listed = project.run("training-set", "list")
    shown = project.run("training-set", "show", "hurt")

    assert (listed.code, shown.code) == (1, 1)
    assert message in listed.out
    assert message in shown.err
    assert all(f"{name}@1" in listed.out for name in ("first", "hurt", "last"))
    told = project.run("training-set", "list", "--json").data
    assert [found["reference"] for found in told["training_sets"]] == ["first@1", "last@1"]
    assert [found["reference"] for found in told["damaged"]] == ["hurt@1"]
    assert project.run("training-set", "list", "last").code == 0
    # Whose folder it was is still known.
    assert project.run("training-set", "leftovers", "--set", "warehouse=house", "--json").data == {"leftovers": []}


def test_an_output_that_cannot_be_written_is_told_before_the_work(in_tmp: Path) -> None:
    (in_tmp / "file").write_text("")
    (in_tmp / "dangling").symlink_to(in_tmp / "nowhere")
    for path, message in (
        ("file", "exists"),
        ("dangling", "exists"),
        ("file/rows", "file is no folder that you can write to"),
        ("dangling/rows", "dangling is no folder"),
    ):
        with pytest.raises(UsageError, match=message):
            check_output(path)
    for path in ("rows", "new/rows", str(in_tmp / "a" / "b" / "rows"), "s3://features/rows"):
        check_output(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_output_in_a_folder_without_the_right_to_write_is_told_before_the_work(in_tmp: Path) -> None:
    (in_tmp / "locked").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="locked is no folder that you can write to"):
        check_output("locked/rows")
