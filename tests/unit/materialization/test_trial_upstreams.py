"""What a trial of a view that reads views is made of."""

from datetime import timedelta
from pathlib import Path

import pytest

from features import BatchSource, ViewSource
from features.errors import NotFoundError
from features.materialization.trial_sources import replace_sources
from features.materialization.trial_upstreams import with_upstreams
from tests.builders import make_view, payments_source


def over(name: str, *views: str) -> object:
    sources = [ViewSource(name=f"of_{n}", view=view, history=timedelta(days=1)) for n, view in enumerate(views)]
    return make_view(name=name, sources=sources)


VIEWS = {
    view.name: view
    for view in (
        make_view(),
        make_view(name="other"),
        over("middle", "last_payment@3"),
        over("top", "middle", "last_payment"),
    )
}


def test_what_is_read_comes_first_and_as_the_code_has_it() -> None:
    found = with_upstreams(VIEWS["top"], VIEWS)

    assert [view.name for view in found] == ["last_payment", "middle", "top"]
    assert found[1].upstreams == ("last_payment",)
    assert with_upstreams(VIEWS["other"], VIEWS) == (VIEWS["other"],)


def test_samples_stand_in_for_sources_of_all_views_and_for_views(tmp_path: Path) -> None:
    sample = tmp_path / "rows.csv"
    sample.touch()

    base, *_, top = replace_sources(VIEWS["top"], {"payments": str(sample)}, VIEWS)
    assert base.sources == (payments_source(sample, format="csv"),)
    assert top == VIEWS["top"]
    _, top = replace_sources(VIEWS["top"], {"of_0": str(sample)}, VIEWS)
    assert top.sources[0] == BatchSource(
        name="of_0",
        path=str(sample),
        format="csv",
        timestamp_field="event_timestamp",
        created_timestamp_field="available_timestamp",
        history=timedelta(days=1),
    )
    with pytest.raises(NotFoundError, match="no source of 'top' 'paymnts'; did you mean 'payments'"):
        replace_sources(VIEWS["top"], {"paymnts": str(sample)}, VIEWS)
