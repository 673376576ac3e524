"""The pages of data docs as HTML: every text in them escaped, nothing in them loaded from elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from features.core.applied import AppliedView
from features.registry import Run

Result = Mapping[str, Any]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; --pass: #2e7d32; --warn: #b26a00; --quarantine: #6a3fb5;
  --refuse: #c62828; --none: #8886; }
@media (prefers-color-scheme: dark) { :root { --dim: #aaa; --pass: #66bb6a; --warn: #ffb74d; --quarantine: #b39ddb;
  --refuse: #ef5350; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p, dl { margin: .2rem 0; } .dim { color: var(--dim); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
.strip { white-space: nowrap; font: 13px ui-monospace, monospace; }
.strip span { display: inline-block; width: 1.15em; text-align: center; border-radius: 2px; }
.pass { color: var(--pass); } .warn { color: var(--warn); font-weight: 700; }
.quarantine { color: var(--quarantine); font-weight: 700; } .refuse { color: var(--refuse); font-weight: 700; }
.none { color: var(--none); } .time { white-space: nowrap; }
"""
# Without it a page could be made to load something by what it shows.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SIGNS = {"pass": "\u25cf", "warn": "!", "quarantine": "Q", "refuse": "\u2715", "none": "\u00b7"}
_WORST = ("pass", "warn", "quarantine", "refuse")
_LEGEND = (
    f"{_SIGNS['pass']} holds, {_SIGNS['warn']} warned, {_SIGNS['quarantine']} quarantined rows, "
    f"{_SIGNS['refuse']} refused, {_SIGNS['none']} not judged; the latest run is on the right; times are UTC"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewReport:
    """What is told of one view version. runs: builds, newest first. results: of the gate, by run id."""

    view: AppliedView
    runs: Sequence[Run]
    results: Mapping[str, Sequence[Result]]


def page_name(report: ViewReport) -> str:
    """The file of a view version's page."""
    return f"{report.view.name}.v{report.view.version}.html"


def index_page(reports: Sequence[ViewReport]) -> str:
    """All views, with their last status."""
    rows = [
        [
            f'<a href="{escape(page_name(report))}">{escape(report.view.reference)}</a>',
            escape(report.view.description),
            *(
                _last_run(report.runs[0], report.results)
                if report.runs
                else ('<span class="dim">never run</span>', "", "")
            ),
            _strip([_run_cell(run, report.results) for run in reversed(report.runs)]),
        ]
        for report in reports
    ]
    table = _table(("view", "", "last run", "at", "failing rules", "recent runs"), rows)
    empty = "<p>No view is registered; run <code>features apply</code>.</p>"
    return _page("Data docs", f"<h1>Data docs</h1><p class='dim'>{_LEGEND}</p>{table if rows else empty}")


def view_page(report: ViewReport) -> str:
    """One view: its runs, and how each rule fared in them."""
    view = report.view
    about = {
        "owner": view.owner,
        "schedule": view.schedule or "none",
        "suite": view.suite.path if view.suite else "none",
    }
    facts = " · ".join(f"{name}: <code>{escape(value)}</code>" for name, value in about.items())
    body = [
        '<p><a href="index.html">All views</a></p>',
        f"<h1>{escape(view.reference)}</h1><p>{escape(view.description)}</p><p class='dim'>{facts}</p>",
        f"<h2>Rules</h2><p class='dim'>{_LEGEND}</p>{_rules(report)}",
        f"<h2>Runs</h2>{_runs(report)}" if report.runs else "<p>No run has built it.</p>",
    ]
    return _page(view.reference, "".join(body))


def _rules(report: ViewReport) -> str:
    fared: dict[tuple[str, str, str], dict[str, list[Result]]] = {}
    for run in report.runs:
        for result in report.results.get(run.run_id, ()):
            judged = (result["column"], result["rule"], result["severity"])
            fared.setdefault(judged, {}).setdefault(run.run_id, []).append(result)
    rows = []
    for (column, rule, severity), by_run in sorted(fared.items(), key=lambda rule: -_failures(rule[1])):
        cells = [_rule_cell(run, by_run.get(run.run_id, ())) for run in reversed(report.runs)]
        latest = next(by_run[run.run_id] for run in report.runs if run.run_id in by_run)
        rows.append(
            [
                f"<code>{escape(column)}</code>",
                f"<code>{escape(rule)}</code>",
                _word(severity),
                _strip(cells),
                _told(latest),
            ]
        )
    if not rows:
        return "<p>The gate has judged no run.</p>"
    return _table(("column", "rule", "severity", "recent runs", "in the last judged run"), rows)


def _failures(by_run: Mapping[str, Sequence[Result]]) -> int:
    return sum(any(result["failing"] for result in results) for results in by_run.values())


def _told(results: Sequence[Result]) -> str:
    failing = [result for result in results if result["failing"]]
    if not failing:
        return escape(results[0].get("detail") or f"holds for {results[0]['rows']:,} rows")
    lines = []
    for result in failing:
        told = result.get("detail") or f"{result['failing']:,} of {result['rows']:,} rows fail"
        keys = "; ".join(result.get("keys") or ())
        where = f"<span class='dim'>{_interval_end(result)}</span> {escape(told)}"
        lines.append(where + (f"<br><code>{escape(keys)}</code>" if keys else ""))
    return "<br>".join(lines)


def _runs(report: ViewReport) -> str:
    rows = [
        [
            _instant(run.started_at),
            f"{_instant(run.start)}<br>{_instant(run.end)}",
            _strip([_run_cell(run, report.results)]) + " " + escape(run.status),
            f"{run.counts.get('rows', 0):,}",
            f"{run.counts.get('quarantined', 0):,}",
            escape(run.message),
        ]
        for run in report.runs
    ]
    return _table(("started", "interval", "status", "rows appended", "quarantined", "message"), rows, numbers=(3, 4))


def _last_run(run: Run, results: Mapping[str, Sequence[Result]]) -> tuple[str, str, str]:
    failing = sum(1 for result in results.get(run.run_id, ()) if result["failing"])
    return escape(run.status), _instant(run.started_at), str(failing)


def _run_cell(run: Run, results: Mapping[str, Sequence[Result]]) -> str:
    if run.status in ("failed", "running"):
        return _cell("none", f"{_range(run)}: {run.status}")
    return _rule_cell(run, results.get(run.run_id, ()))


def _rule_cell(run: Run, results: Iterable[Result]) -> str:
    found = list(results)
    if not found:
        return _cell("none", f"{_range(run)}: not judged")
    failing = [result for result in found if result["failing"]]
    worst = max((result["severity"] for result in failing), key=_WORST.index, default="pass")
    return _cell(worst, f"{_range(run)}: {'holds' if not failing else f'{worst}, {len(failing)} findings'}")


def _range(run: Run) -> str:
    return f"{_shown(run.start)} to {_shown(run.end)}" if run.start and run.end else "no range"


def _instant(moment: datetime | None) -> str:
    return f"<span class='time'>{_shown(moment)}</span>" if moment is not None else "-"


def _interval_end(result: Result) -> str:
    return _instant(datetime.fromisoformat(result["interval_end"])) if result["interval_end"] else ""


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _cell(kind: str, title: str) -> str:
    return f'<span class="{kind}" title="{escape(title)}">{_SIGNS[kind]}</span>'


def _word(severity: str) -> str:
    return f'<span class="{escape(severity)}">{escape(severity)}</span>'


def _strip(cells: Iterable[str]) -> str:
    return f'<span class="strip">{"".join(cells)}</span>'


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="number">{c}</td>' if place in numbers else f"<td>{c}</td>" for place, c in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )
