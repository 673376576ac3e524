"""Metrics as Prometheus reads them: the text format, version 0.0.4."""

import time
from collections.abc import Iterable, Iterator, Mapping

from features import __version__
from features.serving.http.metrics import BOUNDS, Counts, Gauges, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_Samples = Iterable[tuple[str, Mapping[str, str], float]]


def expose(counts: Counts, gauges: Mapping[int, Gauges]) -> bytes:
    """All metrics as text. counts: of all workers together; gauges: by worker, of those that run."""
    lines: list[str] = []
    for name, kind, about, samples in _families(counts, gauges):
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in samples]
    return ("\n".join(lines) + "\n").encode()


def _families(counts: Counts, gauges: Mapping[int, Gauges]) -> Iterator[tuple[str, str, str, _Samples]]:
    yield (
        "features_http_requests_total", "counter", "Answers, by feature service and HTTP status.",
        [("", {"service": s, "code": c}, n) for s, family in counts.requests.items() for c, n in family.items()],
    )  # fmt: skip
    yield (
        "features_http_request_seconds", "histogram", "From a request's headers to the end of its answer.",
        [sample for service, histogram in counts.seconds.items() for sample in _histogram(service, histogram)],
    )  # fmt: skip
    yield (
        "features_http_entity_rows_total", "counter", "Entity rows that were asked for.",
        [("", {"service": service}, n) for service, n in counts.rows.items()],
    )  # fmt: skip
    yield (
        "features_online_values_total", "counter", "Values that were answered, by view and status.",
        [("", {"view": v, "status": s}, n) for v, family in counts.values.items() for s, n in family.items()],
    )  # fmt: skip
    yield (
        "features_http_refused_total", "counter", "Requests that were refused before any work.",
        [("", {"reason": reason}, n) for reason, n in counts.refused.items()],
    )  # fmt: skip
    yield (
        "features_online_client_total", "counter", "What the online client counts: cache_hits, cache_misses, ...",
        [("", {"event": event}, n) for event, n in counts.client.items()],
    )  # fmt: skip
    yield (
        "features_access_log_dropped_total", "counter", "Lines of the access log that could not be written in time.",
        [("", {}, counts.log_lines_dropped)],
    )  # fmt: skip
    yield from _gauge_families(gauges)
    yield "features_build_info", "gauge", "The version that runs.", [("", {"version": __version__}, 1)]


def _gauge_families(gauges: Mapping[int, Gauges]) -> Iterator[tuple[str, str, str, _Samples]]:
    by_worker = [({"worker": str(number)}, gauge) for number, gauge in sorted(gauges.items())]
    yield (
        "features_http_in_flight", "gauge", "Requests under way.",
        [("", labels, gauge.in_flight) for labels, gauge in by_worker],
    )  # fmt: skip
    yield (
        "features_http_in_flight_limit", "gauge", "How many are taken on at once; what is beyond is refused.",
        [("", labels, gauge.limit) for labels, gauge in by_worker],
    )  # fmt: skip
    yield (
        "features_http_wait_seconds", "gauge", "How much longer than alone requests take: what moves the limit.",
        [("", labels, gauge.wait_seconds) for labels, gauge in by_worker],
    )  # fmt: skip
    yield (
        "features_online_cache_rows", "gauge", "Rows in the online client's cache.",
        [("", labels, gauge.cache_rows) for labels, gauge in by_worker],
    )  # fmt: skip
    yield (
        "features_dependency_up", "gauge", "Whether the registry and the online store were reached lately.",
        [("", {**labels, "dependency": d}, up) for labels, gauge in by_worker for d, up in gauge.up.items()],
    )  # fmt: skip
    latest: dict[str, float] = {}
    for _, gauge in by_worker:
        for view, at in gauge.loaded.items():
            latest[view] = max(at, latest.get(view, at))
    yield (
        "features_view_freshness_seconds", "gauge", "Since a load last brought the view's online table forward.",
        [("", {"view": view}, round(max(0.0, time.time() - at), 3)) for view, at in sorted(latest.items())],
    )  # fmt: skip


def _histogram(service: str, histogram: Histogram) -> Iterator[tuple[str, Mapping[str, str], float]]:
    below = 0
    for bound, count in zip((*BOUNDS, None), histogram.counts, strict=True):
        below += count
        yield "_bucket", {"service": service, "le": "+Inf" if bound is None else str(bound)}, below
    yield "_sum", {"service": service}, histogram.total_seconds
    yield "_count", {"service": service}, below


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
