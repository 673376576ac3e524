import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from features.errors import NotFoundError, RegistryError, UsageError
from features.registry import Registry


def test_manifests_are_numbered_by_name(registry):
    numbers = [registry.save_manifest(name, {"n": name}, hold=False) for name in ("a", "b", "a")]

    assert numbers == [1, 1, 2]
    assert [manifest.reference for manifest in registry.manifests()] == ["a@1", "a@2", "b@1"]


def test_manifest_by_name_is_the_latest_and_keeps_its_content(registry):
    content = {"views": [{"view": "spend@3", "position": 2**60}], "label": "ü", "share": 0.1, "none": None}
    registry.save_manifest("churn", {}, hold=False)
    registry.save_manifest("churn", content, hold=True)

    latest = registry.manifest("churn")

    assert (latest.reference, latest.content, latest.held) == ("churn@2", content, True)
    assert registry.manifest("churn@1").content == {}


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("chrun", "no training set 'chrun'; did you mean 'churn'?"),
        ("churn@2", "no training set 'churn@2'; the latest of that name is churn@1"),
    ],
)
def test_unknown_manifest_is_told_with_what_is_known(registry, reference, told):
    registry.save_manifest("churn", {}, hold=False)

    with pytest.raises(NotFoundError) as error:
        registry.manifest(reference)
    assert told in str(error.value)


@pytest.mark.parametrize("reference", ["churn@", "churn@x", "churn@0", "churn@-1", "churn@99999999999999999999"])
def test_reference_that_is_none_is_wrong_usage(registry, reference):
    with pytest.raises(UsageError, match="write name or name@number"):
        registry.manifest(reference)


@pytest.mark.parametrize("name", ["", "a@1", "../x", "a b", ".hidden"])
def test_name_that_cannot_be_a_folder_is_wrong_usage(registry, name):
    with pytest.raises(UsageError, match="cannot name a training set"):
        registry.save_manifest(name, {}, hold=False)


def test_hold_and_release_are_kept_and_audited(registry):
    registry.save_manifest("churn", {}, hold=False)

    held = registry.hold("churn", actor="ann")
    released = registry.release("churn@1", actor="bob")

    assert (held.held, released.held, registry.manifest("churn").held) == (True, False, False)
    assert [(entry.actor, entry.action) for entry in registry.audit()] == [("bob", "release"), ("ann", "hold")]
    assert registry.audit()[0].detail == {"training_set": "churn@1", "was_held": True}


def test_saves_that_race_get_numbers_of_their_own(registry):
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda n: registry.save_manifest("churn", {"n": n}, hold=False), range(24)))

    assert sorted(numbers) == list(range(1, 25))
    assert {registry.manifest(f"churn@{number}").content["n"] for number in numbers} == set(range(24))


def damage(registry, reference, statement):
    name, number = reference.split("@")
    with registry._database.write() as connection:
        connection.exec_driver_sql(f"UPDATE manifests SET {statement} WHERE name = '{name}' AND number = {number}")


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_damaged_entry_is_named_and_costs_no_other(registry, content):
    for name in ("a", "b", "c"):
        registry.save_manifest(name, {"n": name}, hold=False)
    damage(registry, "b@1", f"content = '{content}'")

    for read in (lambda: registry.manifest("b"), registry.manifests, lambda: registry.hold("b@1")):
        with pytest.raises(RegistryError, match=r"entry of b@1 was damaged \(.*\); restore it"):
            read()
    assert registry.manifest("c").content == {"n": "c"}
    assert registry.manifest_references() == ("a@1", "b@1", "c@1")


def test_folders_are_found_in_whatever_manifest_names_them_damaged_or_not(registry):
    for name in ("a", "b"):
        registry.save_manifest(name, {"path": f"s3://wide/sets/{name}/folder-{name}/data", "label": "x1"}, hold=False)
    damage(registry, "b@1", "content = substr(content, 1, length(content) - 3)")

    found = registry.find_manifests(["folder-a", "folder-b", "folder-", "older-a", "folder-c"])

    assert found == {"folder-a": "a@1", "folder-b": "b@1"}


def test_a_registry_is_told_from_another_in_its_place_and_from_its_copy(tmp_path):
    def identify(name):
        with Registry.open(f"sqlite:///{tmp_path / name}") as opened:
            return opened.identity()

    first = identify("registry.db")
    assert first == identify("registry.db")
    shutil.copy(tmp_path / "registry.db", tmp_path / "copy.db")
    assert identify("copy.db") != first
    for file in tmp_path.glob("registry.db*"):
        file.unlink()
    assert identify("registry.db") != first
