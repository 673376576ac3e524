"""Why a rebuild differs from what was saved, as far as a manifest tells: what to look at, and whom not to blame."""

from collections.abc import Collection, Mapping
from typing import Any

# Means are rounded in the order of the rows, so they tell nothing by themselves.
_EXACT = ("nulls", "nans", "min", "max")
_LOGS = "rows that it needs were removed or rewritten"
_EITHER = "an on-demand function, or a library that it calls, gives other values than then, or " + _LOGS


def explain_difference(
    content: Mapping[str, Any],
    *,
    rows: int,
    statistics: Mapping[str, Mapping[str, Any]],
    computed: Collection[str],
    code: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """What differs from a manifest's content, what may have caused it, and what else has changed since.

    Args:
        content: of the manifest.
        rows, statistics: of what is computed now; statistics by column, as a manifest holds them.
        computed: the columns that on-demand functions compute.
        code, versions: of now, as a manifest holds them.
    """
    fewer_or_more = rows != content["rows"]
    before = content["statistics"]
    differing = [c for c, now in statistics.items() if any(now[k] != before.get(c, {}).get(k) for k in _EXACT)]
    if fewer_or_more:
        told = f", {rows} rows instead of {content['rows']}"
    else:
        told = f" (to tell by statistics, in {', '.join(differing)})" if differing else ""
    # Functions neither add nor drop rows, and no column but their own is theirs.
    is_log = not computed or fewer_or_more or any(column not in computed for column in differing)
    changes = changes_since(content, code=code, versions=versions)
    since = f"; since then: {', '.join(changes)}" if changes else ""
    return f"{told}; {_LOGS if is_log else _EITHER}{since}"


def changes_since(content: Mapping[str, Any], *, code: Mapping[str, Any], versions: Mapping[str, str]) -> list[str]:
    """Libraries and code that are not what a manifest recorded, each in words."""
    then = content["versions"]
    names = (*then, *(name for name in versions if name not in then))
    found = [
        f"{name} {then.get(name, 'missing')} -> {versions.get(name, 'missing')}"
        for name in names
        if then.get(name) != versions.get(name)
    ]
    if _place(content["code"]) != _place(code):
        found.append(f"{_place(content['code'])} -> {_place(code)}")
    elif content["code"].get("modified") or code.get("modified"):
        # Of code that is changed beside its commit, nobody knows whether it is the same.
        found.append(f"{_place(code)} had, or has, changes that are not committed")
    return found


def _place(code: Mapping[str, Any]) -> str:
    commit = code.get("commit")
    return f"{code.get('package')} at {commit[:12] if commit else 'no commit'}"
