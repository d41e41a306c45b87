"""Figures for Prometheus, where the package ``prometheus-client`` is there (the extra ``metrics``).

Two kinds. What happens in a process is counted in it, in the library's own registry: a host that shows that one shows
these, too; with ``PROMETHEUS_MULTIPROC_DIR`` set, processes on one machine count together. What stands in PostgreSQL
is read from it when somebody asks, so that it is the same whichever process is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chat import telemetry

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

# Seconds, as the upper bounds of histograms: of something quick, of something that a person waits for.
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


@dataclass(frozen=True, slots=True)
class Figure:
    """``kind`` is counter, gauge or histogram; one without a kind is read from PostgreSQL."""

    name: str
    meaning: str
    kind: str = ""
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


FIGURES = (
    Figure("chat_turns_begun_total", "Runs of turns, or of legs of them, that began", "counter"),
    Figure("chat_turns_ended_total", "Turns that ended, by how", "counter", ("status",)),
    Figure("chat_turns_recovered_total", "Turns that were ended because their process was gone", "counter"),
    Figure("chat_first_chunk_seconds", "From the beginning of a run to its first chunk", "histogram", bounds=SLOW),
    Figure("chat_run_seconds", "From the beginning of a run to its end", "histogram", bounds=SLOW),
    Figure("chat_commit_seconds", "Commits, by what they hold", "histogram", ("commit",), QUICK),
    Figure(
        "chat_log_lag_seconds", "From an agent's chunk to its commit: the oldest one of each", "histogram", (), QUICK
    ),
    Figure("chat_live_runs", "Turns that run in this process", "gauge"),
    Figure("chat_readers", "Open streams and sockets", "gauge"),
    Figure("chat_readers_dropped_total", "Readers that did not take their stream", "counter"),
    Figure("chat_listening_broken_total", "Breaks of the connection that listens", "counter"),
    Figure("chat_mirror_failures_total", "Best-effort writes of a mirror that failed", "counter"),
    Figure("chat_turns", "Turns that have not ended, by status", labels=("status",)),
    Figure("chat_turns_stuck", "Streaming turns whose lease is out"),
    Figure("chat_oldest_heartbeat_seconds", "Age of the oldest heartbeat of a streaming turn"),
    Figure("chat_oldest_queued_seconds", "Age of the turn that has waited longest in a queue"),
    Figure("chat_mirror_failed_chats", "Copilot chats whose mirror failed since they were last reconciled"),
    Figure("chat_mirror_drift", "Drift that the last full reconcile has found and left, by kind", labels=("kind",)),
    Figure("chat_mirror_check_age_seconds", "Age of that reconcile"),
)
# What is read from PostgreSQL: of which figure, by what, how much.
Value = tuple[str, str, float]


@cache
def install() -> bool:
    """Count from now on what ``telemetry`` tells. False, and nothing else, where the package is not there.

    Once in a process, however often: tests that change INSTALLED_APPS make the applications ready anew.
    """
    try:
        counters = _counters()
    except ImportError:
        return False

    def tell(name: str, value: float, labels: dict[str, str]) -> None:
        figure = counters[name].labels(**labels) if labels else counters[name]
        figure.observe(value) if hasattr(figure, "observe") else figure.inc(value)

    telemetry.measures.append(tell)
    return True


@cache
def _counters() -> dict[str, Any]:
    from prometheus_client import Counter, Gauge, Histogram

    made: dict[str, Any] = {}
    for one in FIGURES:
        if one.kind == "counter":
            made[one.name] = Counter(one.name, one.meaning, one.labels)
        elif one.kind == "gauge":
            made[one.name] = Gauge(one.name, one.meaning, one.labels, multiprocess_mode="livesum")
        elif one.kind == "histogram":
            made[one.name] = Histogram(one.name, one.meaning, one.labels, buckets=one.bounds)
    return made


def exposition(values: Iterable[Value]) -> tuple[bytes, str]:
    """All figures in Prometheus's text format, and its media type. ``values`` are those that stand in PostgreSQL.
    Raises ImportError where the package is not there.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    counted: CollectorRegistry = REGISTRY
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _forget_the_dead(Path(folder))
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    read = CollectorRegistry()
    read.register(_Read(values))
    return generate_latest(counted) + generate_latest(read), CONTENT_TYPE_LATEST


class _Read:
    """A collector of what was read."""

    def __init__(self, values: Iterable[Value]) -> None:
        self.values = list(values)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        from prometheus_client.core import GaugeMetricFamily

        for one in FIGURES:
            if not one.kind:
                family = GaugeMetricFamily(one.name, one.meaning, labels=one.labels)
                for name, label, value in self.values:
                    if name == one.name:
                        family.add_metric([label] if one.labels else [], value)
                yield family


def _forget_the_dead(folder: Path) -> None:
    """What runs and reads in a process ends with it, also where it was killed; its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead

    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            pass
