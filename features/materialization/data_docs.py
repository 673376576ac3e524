"""Data docs: what the gate said of each view's runs, as pages that need no network and no server.

Great Expectations has data docs of its own, one page for each run, which load fonts and style sheets from the
network and show nothing of checks that look back. These are made of what the registry holds.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from features.core.applied import AppliedView
from features.errors import PlatformError
from features.materialization.data_docs_pages import ViewReport, index_page, page_name, view_page
from features.registry import Registry

_RUNS = 30


def write_data_docs(registry: Registry, views: Sequence[AppliedView], out: str | Path) -> list[Path]:
    """The files written: a page for each view, then `index.html`, which links to them.

    Each is replaced as a whole, so that a reader sees the old page or the new one. Others in the folder stay.

    Args:
        views: in the order of the index.
        out: a folder, made where it is missing.

    Raises: PlatformError: the folder cannot be written.
    """
    folder = Path(out)
    reports = [_report(registry, view) for view in views]
    pages = {page_name(report): view_page(report) for report in reports}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(folder / name, text) for name, text in {**pages, "index.html": index_page(reports)}.items()]
    except OSError as exc:
        raise PlatformError(
            f"data docs cannot be written to {str(folder)!r}: {exc.strerror}; name another --output"
        ) from exc


def _report(registry: Registry, view: AppliedView) -> ViewReport:
    runs = registry.runs(view, kind="build", limit=_RUNS)
    return ViewReport(view=view, runs=runs, results=registry.validations_of([run.run_id for run in runs]))


def _write(path: Path, text: str) -> Path:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
    return path
