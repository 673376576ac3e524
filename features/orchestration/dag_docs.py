"""The documentation of a DAG, in Markdown: what Airflow shows beside its runs."""

import re
import shlex
from collections.abc import Iterable, Sequence

from features.core.applied import AppliedView
from features.core.definitions import Feature, Source
from features.core.view_source import ViewSource
from features.orchestration.dag_plan import TaskPlan, Upstream

_TEMPLATE = re.compile(r"\{\{.*?\b(start|end)\b.*?\}\}")


def describe_view(view: AppliedView, tasks: Sequence[TaskPlan], upstreams: Sequence[Upstream]) -> str:
    """Of a view: what it is, its features, and the commands of a run."""
    keys = ", ".join(f"`{name}` {dtype}" for name, dtype in view.join_keys.items())
    read = ", ".join(f"`{upstream.reference}`" for upstream in upstreams)
    lines = [
        view.description,
        "",
        f"- **version** {view.reference}, hash `{view.definition_hash[:12]}`",
        f"- **entities** {', '.join(entity.name for entity in view.entities)} ({keys})",
        *(f"- **source** {source.name}: {_describe_source(source)}" for source in view.sources),
        *([f"- **waits for** {read} to cover its interval"] if read else []),
        f"- **online by** {view.delay} after the end of an interval",
        f"- **lookback** {view.lookback or 'no limit'}",
        f"- **owner** {view.owner}",
        "",
        *_table(("feature", "type", "unit", "description", "expected"), map(_feature_row, view.features)),
        *describe_commands(tasks, upstreams),
    ]
    return "\n".join(lines)


def describe_commands(tasks: Sequence[TaskPlan], upstreams: Sequence[Upstream] = ()) -> list[str]:
    """The commands of a run, to copy."""
    pinned = "".join(f" --upstream {upstream.reference}=<delta version>" for upstream in upstreams)
    lines = [_readable(task.command) + (pinned if task.builds else "") for task in tasks]
    pools = dict.fromkeys(task.pool for task in tasks if task.pool is not None)
    return ["", "Each run, from the project's root:", "```sh", *lines, "```", *map(_describe_pool, pools)]


def _describe_pool(pool: str) -> str:
    # Airflow neither fails such a task nor calls anyone; this is beside the run that does not start.
    made = shlex.join(["airflow", "pools", "set", pool, "8", "feature views"])
    return f"\nTakes a slot of Airflow's pool `{pool}`; while there is none of that name, no task starts: `{made}`"


def _readable(command: Sequence[str]) -> str:
    words = [_TEMPLATE.sub(r"<\1>", word) for word in command]
    return " ".join(word if re.fullmatch(r"<\w+>", word) else shlex.quote(word) for word in words)


def _describe_source(source: Source) -> str:
    if isinstance(source, ViewSource):
        return f"the feature view {source.view}"
    return f"`{source.location}` ({source.kind})"


def _feature_row(feature: Feature) -> tuple[str, ...]:
    rules = ", ".join(f"{rule} ({rule.severity})" for rule in feature.expectations)
    return feature.name, str(feature.dtype), feature.unit or "", feature.description, rules


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *([_cell(text) for text in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
