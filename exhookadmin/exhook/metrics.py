"""Every metric there is: its name, kind, labels and meaning.

They are measured in the workers and served by the supervisor. A worker reports *samples*: for each
metric a list of label values with a value. Counters and histograms are summed over the workers, and
go on where a dead worker's ended; gauges carry the number of the worker they come from.

No label is ever taken from a client or holds a secret: all values come from enumerations.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version

from django.conf import settings

from exhookadmin import __version__

Value = float | list[float]
"""A number; for a histogram the count in each bucket, then the sum."""
Samples = dict[str, list[tuple[list[str], Value]]]
"""Metric name → (label values, value). What a worker writes as JSON."""

# Upper bounds in seconds. Most answers take less than the first; EMQX waits 5 s.
DURATION_BUCKETS = (
    0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip


class MetricKind(Enum):
    """How values are added up, in Prometheus' terms."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One metric. A gauge of the workers has the label ``worker`` besides those named here."""

    name: str
    kind: MetricKind
    help: str
    labels: Sequence[str] = ()


def _catalog(*metrics: Metric) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in metrics}


_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

WORKER_METRICS = _catalog(
    Metric(
        "exhook_calls_total",
        _COUNTER,
        "Calls answered, by hook, protocol version, outcome (allow, deny, ignore, ok, error) and reason. "
        "Error means that nothing could be decided; the broker was told deny.",
        ("hook", "protocol", "outcome", "reason"),
    ),
    Metric(
        "exhook_call_duration_seconds",
        _HISTOGRAM,
        "Time from request to answer. Quick: from memory; full: after waiting for a bulkhead.",
        ("hook", "path"),
    ),
    Metric(
        "exhook_refused_calls_total",
        _COUNTER,
        "Calls that ended with a gRPC error status, by reason.",
        ("reason",),
    ),
    Metric(
        "exhook_needs_total",
        _COUNTER,
        "What answers could not be given without: a device from the database, a hash, a hash for show.",
        ("need",),
    ),
    Metric("exhook_bulkhead_waiting", _GAUGE, "Pieces of slow work that wait for a thread.", ("bulkhead",)),
    Metric(
        "exhook_bulkhead_shed_total",
        _COUNTER,
        "Pieces of slow work that were dropped because their deadline could not be met or too much waited.",
        ("bulkhead",),
    ),
    Metric(
        "exhook_device_lookups_total",
        _COUNTER,
        "Questions about a device that memory could answer (hit) and could not (miss).",
        ("result",),
    ),
    Metric("exhook_devices_held", _GAUGE, "Devices in memory."),
    Metric(
        "exhook_login_memory_hits_total",
        _COUNTER,
        "Logins that needed no hash because the same password had verified, or failed, a while ago.",
        ("memory",),
    ),
    Metric(
        "exhook_throttled_keys",
        _GAUGE,
        "Identities (each with an address) and addresses whose failed logins are being counted.",
        ("scope",),
    ),
    Metric("exhook_feed_up", _GAUGE, "1 while changes in the database are heard of."),
    Metric(
        "exhook_feed_lag_seconds",
        _GAUGE,
        "How long ago it was certain that no change is missing; a few seconds while all is well.",
    ),
    Metric(
        "exhook_feed_changes_total", _COUNTER, "Changes that took effect; those that came together are one."
    ),
    Metric("exhook_feed_last_change_timestamp_seconds", _GAUGE, "When the last change took effect."),
    Metric("exhook_database_up", _GAUGE, "1 while the database answers."),
    Metric("exhook_policies", _GAUGE, "Policies in force."),
    Metric("exhook_policies_broken", _GAUGE, "Policies that do not compile."),
    Metric("exhook_policies_read_timestamp_seconds", _GAUGE, "When the policies in force were read."),
    Metric("exhook_facts_recorded_total", _COUNTER, "Audit facts taken, by kind.", ("kind",)),
    Metric("exhook_facts_written_total", _COUNTER, "Audit facts written to the database."),
    Metric("exhook_facts_waiting", _GAUGE, "Audit facts that are not in the database yet."),
    Metric(
        "exhook_facts_dropped_total",
        _COUNTER,
        "Audit facts lost because the spool, its disk or the dead letters were full, by kind.",
        ("kind",),
    ),
    Metric(
        "exhook_facts_set_aside_total",
        _COUNTER,
        "Audit facts that the database refused, or that could not be read, and that became dead letters.",
    ),
    Metric(
        "exhook_dead_letters", _GAUGE, "Dead letters in the spool directory, which all workers of it share."
    ),
    Metric("exhook_dead_letters_bytes", _GAUGE, "What the dead letters in the spool directory take on disk."),
    Metric(
        "exhook_facts_adopted_total", _COUNTER, "Audit facts read from the spools of processes that are gone."
    ),
    Metric("exhook_spool_bytes", _GAUGE, "What a worker’s spool of audit facts takes on disk."),
    Metric(
        "exhook_spool_unreadable_total",
        _COUNTER,
        "Pieces of spools that were torn when a process or the power failed, and were skipped.",
    ),
    Metric(
        "exhook_event_loop_lag_seconds",
        _GAUGE,
        "How late the last thing came that the event loop was asked to do.",
    ),
    Metric(
        "exhook_tls_certificate_expiry_timestamp_seconds",
        _GAUGE,
        "When the first of the endpoint’s certificates ends.",
    ),
    Metric("exhook_tls_reloads_total", _COUNTER, "Times that certificates were read anew.", ("result",)),
    Metric("exhook_worker_resident_memory_bytes", _GAUGE, "Memory that a worker uses."),
    Metric("exhook_worker_cpu_seconds_total", _COUNTER, "CPU time that workers used."),
)

SUPERVISOR_METRICS = _catalog(
    Metric("exhook_workers", _GAUGE, "Workers that should run."),
    Metric("exhook_worker_ready", _GAUGE, "1 while this worker listens and can decide.", ("worker",)),
    Metric(
        "exhook_process_restarts_total", _COUNTER, "Times that a process died and was replaced.", ("process",)
    ),
    Metric(
        "exhook_audit_maintenance_runs_total",
        _COUNTER,
        "Times that the audit log was maintained, by result: done, incomplete, busy (another process was "
        "doing it), failed.",
        ("result",),
    ),
    Metric(
        "exhook_audit_maintenance_success_timestamp_seconds",
        _GAUGE,
        "When the audit log was maintained last, by whatever machine.",
    ),
    Metric(
        "exhook_audit_events_outside_partitions",
        _GAUGE,
        "Events that no partition but the default one has room for, by group of kinds. PostgreSQL only.",
        ("group",),
    ),
    Metric(
        "exhook_build_info",
        _GAUGE,
        "Always 1; the labels say what runs.",
        ("version", "python", "grpcio", "transport"),
    ),
)


def build() -> tuple[str, ...]:
    """The labels of ``exhook_build_info``."""
    return __version__, platform.python_version(), version("grpcio"), settings.EXHOOK_TRANSPORT
