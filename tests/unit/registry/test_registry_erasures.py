import pytest

from features.errors import NotFoundError, RefusedError, RegistryError
from features.registry.erasures import ERASED_VERSIONS


def request(registry, *keys):
    return registry.request_erasure(entity="customer", columns=["customer"], keys=[[key] for key in keys])


def test_keys_are_kept_until_the_erasure_is_done_and_nowhere_after(registry):
    erasure = request(registry, "victim", "other")
    assert registry.erasure(erasure.erasure_id).keys == (("victim",), ("other",))
    assert "victim" not in repr(erasure)

    registry.finish_erasure(erasure.erasure_id, {"texts": 1})

    (done,) = registry.erasures()
    assert (done.is_done, done.keys, done.count, done.progress) == (True, (), 2, {"texts": 1})
    assert [entry.action for entry in registry.audit()] == ["erase", "request erasure"]
    assert "victim" not in repr(registry.audit())


def test_one_erasure_is_open_at_a_time(registry):
    first = request(registry, "a")
    with pytest.raises(RefusedError, match=f"features erase --resume {first.erasure_id}"):
        request(registry, "b")
    registry.finish_erasure(first.erasure_id, {})
    assert not request(registry, "b").is_done


def test_unknown_erasure_is_told(registry):
    with pytest.raises(NotFoundError, match="no erasure 'x'"):
        registry.erasure("x")


def test_a_set_read_before_an_erasure_is_not_saved_after_it(registry):
    erasure = request(registry, "a")
    registry.record_erasure(erasure.erasure_id, {ERASED_VERSIONS: {"last@1": 5}})

    def save(version, view="last@1"):
        registry.save_manifest("s", {"views": [{"view": view, "delta_version": version}]}, hold=True)

    for allowed in ((5,), (None,), (4, "other@1")):
        save(*allowed)
    for _ in range(2):
        with pytest.raises(RegistryError, match="removed rows of last@1 while the set was made"):
            save(4)
        registry.finish_erasure(erasure.erasure_id, {ERASED_VERSIONS: {"last@1": 5}})


def test_what_an_erasure_changes_of_a_manifest_is_told(registry):
    registry.save_manifest("s", {"rows": 3, "path": "p"}, hold=True)
    assert registry.manifest("s").erasure is None
    registry.change_erased("s@1", {"rows": 2, "erased": {"erasure": "x"}})
    changed = registry.manifest("s@1")
    assert (changed.erasure, changed.held, changed.content["rows"], changed.content["path"]) == ("x", True, 2, "p")


def test_texts_of_runs_of_these_views_alone_are_scrubbed(registry, define, make_view):
    registry.apply(define(make_view(), make_view(name="other")))
    views = registry.view_versions()
    for view in views:
        run_id = registry.start_run(kind="build", view=view, start=None, end=None, now=registry_now())
        registry.finish_run(run_id, status="refused", message="fails, such as customer='a'")
        registry.record_validation(run_id, [{"keys": ["customer='a'"], "rows": 2}, {"keys": []}])
        registry.note("release quarantined", {"view": view.reference, "keys": ["customer='a'"]}, actor="ann")
    mine, other = views

    changed = registry.scrub_runs([mine], lambda text: text.replace("'a'", "?"))

    assert (changed, [view.reference for view in views]) == (3, ["last_payment@1", "other@1"])
    (run,), (left,) = registry.runs(mine), registry.runs(other)
    assert (run.message, left.message) == ("fails, such as customer=?", "fails, such as customer='a'")
    assert registry.validations(run.run_id)[0] == {"keys": ["customer=?"], "rows": 2}
    assert registry.validations(left.run_id)[0]["keys"] == ["customer='a'"]
    released = {entry.detail["view"]: entry.detail["keys"] for entry in registry.audit(limit=2)}
    assert released == {"last_payment@1": ["customer=?"], "other@1": ["customer='a'"]}


def registry_now():
    from datetime import UTC, datetime

    return datetime(2024, 1, 1, tzinfo=UTC)
