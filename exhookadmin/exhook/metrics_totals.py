"""What all workers counted together. Counters never go back: what a worker counted outlives it."""

import threading
from collections.abc import Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from exhookadmin.exhook.metrics import (
    DURATION_BUCKETS,
    SUPERVISOR_METRICS,
    WORKER_METRICS,
    Metric,
    MetricKind,
    Samples,
    Value,
)

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
Labels = tuple[str, ...]
Summed = dict[str, dict[Labels, Value]]


class Totals(Collector):
    """Keeps the latest report of each worker, and the sum of those of workers that are gone.

    Written by the supervisor's loop, read by the threads that serve ``/metrics``.
    """

    def __init__(self) -> None:
        self._latest: dict[str, Samples] = {}
        self._gone: Summed = {}
        self._own: Summed = {}
        self._lock = threading.Lock()

    def heard(self, worker: str, samples: Samples) -> None:
        """Takes a worker's report in place of its last one."""
        with self._lock:
            self._latest[worker] = samples

    def ended(self, worker: str) -> None:
        """The worker is dead: its counters are kept, its gauges end."""
        with self._lock:
            samples = self._latest.pop(worker, {})
            _add(self._gone, {name: series for name, series in samples.items() if _summed(name)})

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Sets one of the supervisor's own metrics."""
        with self._lock:
            self._own.setdefault(name, {})[labels] = value

    def collect(self) -> Iterator[Family]:
        """Everything, for prometheus_client."""
        with self._lock:
            summed = {name: dict(series) for name, series in self._gone.items()}
            for worker, samples in self._latest.items():
                for name, series in samples.items():
                    if _summed(name):
                        _add(summed, {name: series})
                    else:
                        _add(summed, {name: [([*labels, worker], value) for labels, value in series]})
            own = {name: dict(series) for name, series in self._own.items()}
        for metric in WORKER_METRICS.values():
            labels = [*metric.labels] if _summed(metric.name) else [*metric.labels, "worker"]
            yield _family(metric, labels, summed.get(metric.name, {}))
        for metric in SUPERVISOR_METRICS.values():
            yield _family(metric, [*metric.labels], own.get(metric.name, {}))


def _summed(name: str) -> bool:
    return WORKER_METRICS[name].kind is not MetricKind.GAUGE


def _add(total: Summed, samples: Mapping[str, list[tuple[list[str], Value]]]) -> None:
    for name, series in samples.items():
        into = total.setdefault(name, {})
        for labels, value in series:
            key = tuple(labels)
            into[key] = _plus(into[key], value) if key in into else value


def _plus(one: Value, other: Value) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        return [left + right for left, right in zip(one, other, strict=True)]
    if isinstance(one, list) or isinstance(other, list):
        raise TypeError("a histogram and a number cannot be added")
    return one + other


def _family(metric: Metric, labels: list[str], series: Mapping[Labels, Value]) -> Family:
    if metric.kind is MetricKind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=labels)
        for key, value in series.items():
            assert isinstance(value, list)
            histogram.add_metric(key, _cumulative(value[:-1]), value[-1])
        return histogram
    kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=labels)
    for key, value in series.items():
        assert not isinstance(value, list)
        family.add_metric(key, value)
    return family


def _cumulative(counts: list[float]) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in DURATION_BUCKETS), "+Inf"]
    running, buckets = 0.0, []
    for bound, count in zip(bounds, counts, strict=True):
        running += count
        buckets.append((bound, running))
    return buckets
