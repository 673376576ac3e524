"""The demo's summary: figures, in words, and what to try next."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from features.demo.model import Scores
from features.demo.reading import ReadBack

_SHOWN = (
    "carrier_delay__carrier_mean_delay_24h",
    "origin_delay__origin_cancel_rate_7d",
    "route_delay__route_mean_delay_7d",
    "weather__temp",
    "plane__last_arrival_delay",
    "plane__last_landed_at",
)


def describe_scores(scores: Scores) -> list[str]:
    """What the two models are worth, and how much of the leaky score was an illusion."""
    lines = [
        f"trained on {scores.train_rows} flights ({scores.train_late:.0%} late), "
        f"tested on the {scores.test_rows} of the days after ({scores.test_late:.0%} late); ROC AUC, 0.5 is guessing",
        f"  {scores.notebook:.3f}  leaky model, leaky features: what a notebook would report",
        f"  {scores.served:.3f}  the same model, on the features that serving would have answered",
        f"  {scores.honest:.3f}  model trained and tested on what was known at the time",
        f"  {scores.schedule:.3f}  hour and distance alone, no features at all",
    ]
    if scores.illusion > 0:
        lines.append(
            f"{scores.illusion:.3f} of the leaky score, {scores.illusory_share:.0%} of what it has over guessing, "
            "was an illusion: it is gone in production."
        )
    else:
        lines.append("on these days the leaky score kept what it promised: nothing of it was an illusion.")
    if scores.honest < scores.schedule:
        lines.append(
            "Known up to a day late, these features do not beat the timetable on these days. Fresher ones might, "
            'such as those of schedule="@hourly": only the honest score tells.'
        )
    return lines


def describe_values(read: ReadBack) -> list[str]:
    """A few of the values that were read, by row; and whether all of them agree."""
    lines = []
    for place, row in enumerate(read.rows):
        lines.append(", ".join(f"{key} {value}" for key, value in row.items()))
        for name in _SHOWN:
            if name in read.online:
                value, status = read.online[name][place], read.statuses[name][place]
                shown = status if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
                lines.append(f"  {name.replace('__', ':'):<42} {shown}")
    # The longest has a composite key.
    lines += ["by CQL, with any driver in any language:", f"  {max(read.statements, key=len)}"]
    if not read.differences:
        lines.append(f"{read.values} values: online by Python = online by CQL = offline as-of join. Equal.")
    return lines


def summarize(
    seconds: Mapping[str, float], spark_submits: int, scores: Scores, *, moment: datetime, running: Sequence[str]
) -> list[str]:
    """The last lines that the demo prints.

    Args:
        seconds: by step.
        spark_submits: that ran this time.
        moment: the end of the data: online values of 2013 have expired by now.
        running: what keeps running.
    """
    nothing = "" if spark_submits else "Nothing had to be computed again. "
    now = moment.strftime("%Y-%m-%dT%H:%MZ")
    return [
        "",
        f"{nothing}Done in {sum(seconds.values()):.0f} s, with {spark_submits} spark-submits.",
        f"Leaky AUC {scores.notebook:.3f}, in production {scores.served:.3f}; honestly trained {scores.honest:.3f}.",
        *running,
        "",
        "Try next:",
        "  features status              what is built, loaded and stale",
        f"  features get --features delay_model carrier=UA origin=EWR dest=SFO tailnum=N14228 --now {now}",
        "  features rebuild delays_known               the same rows again, to the content hash",
        "  features training-set --features delay_model --spine .state/demo/spine.parquet --name mine",
        "  docs/tutorial.md             a feature view of your own, in two files",
        "  make demo                    again: it finds nothing to do",
        "  make stop, make clean        stop Cassandra; stop it and remove .state",
    ]
