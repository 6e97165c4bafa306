"""What Prometheus may ask of an operator process."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily

from sro_api.base import Manifest
from sro_api.labels import CONDITION_TYPES, FINAL_PHASES, RUNNING
from sro_api.status import SROJobStatus
from sro_operator.keys import Key

_PROGRESS = {
    "step": "Optimiser steps of the game done.",
    "totalSteps": "Optimiser steps that the game has.",
    "loss": "Mean SRO loss of the last step.",
    "passRate": "Share of the last step's paraphrases that passed screener and guards.",
    "heldOutPassRate": "The same by the held-out screener.",
    "similarity": "Mean cosine of source and paraphrase in the last step.",
    "kl": "Mean estimate of KL(policy || reference) per paraphrase, nats.",
    "samplesPerSecond": "Paraphrases made and screened per second.",
    "lastCheckpointStep": "Step of the last checkpoint.",
}
_SUFFIXES = {
    "totalSteps": "steps_planned",
    "passRate": "pass_rate",
    "heldOutPassRate": "held_out_pass_rate",
    "samplesPerSecond": "samples_per_second",
    "lastCheckpointStep": "last_checkpoint_step",
}


LOOK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Bounds of the histogram of looks: fine about two seconds, above which one in a hundred is too many."""


class ProgressGauges:
    """What running jobs report of themselves, for at most so many jobs; the others are counted."""

    def __init__(self, limit: int) -> None:
        """Empty."""
        self._limit = limit
        self._progress: dict[Key, Manifest] = {}
        self._left_out: set[Key] = set()

    def note(self, key: Key, phase: str, progress: Manifest | None) -> None:
        """A job says so; one that does not run says nothing."""
        if phase != RUNNING or progress is None:
            self.forget(key)
        elif key in self._progress or len(self._progress) < self._limit:
            self._left_out.discard(key)
            self._progress[key] = {name: progress[name] for name in _PROGRESS if name in progress}
        else:
            self._left_out.add(key)

    def forget(self, key: Key) -> None:
        """A job runs no more."""
        self._progress.pop(key, None)
        self._left_out.discard(key)

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        left_out = GaugeMetricFamily(
            "sro_job_progress_left_out", "Running jobs without progress gauges, by the limit of them.", labels=()
        )
        left_out.add_metric((), len(self._left_out))
        yield left_out
        for name, text in _PROGRESS.items():
            family = GaugeMetricFamily(f"sro_job_{_SUFFIXES.get(name, name)}", text, labels=("namespace", "name"))
            for key, progress in self._progress.items():
                if isinstance(progress.get(name), int | float):
                    family.add_metric((key.namespace, key.name), progress[name])
            yield family


class Metrics:
    """The metrics of one operator process, in a registry of their own."""

    def __init__(self, progress_limit: int = 200) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self._progress = ProgressGauges(progress_limit)
        self.registry.register(self._progress)
        self.jobs = Gauge("sro_jobs", "SROJobs by phase.", ["phase"], registry=self.registry)
        self.finished = Counter(
            "sro_jobs_finished", "SROJobs that ended, by phase and reason.", ["phase", "reason"], registry=self.registry
        )
        self.attempts = Counter(
            "sro_attempts_ended", "Attempts that ended, by reason.", ["reason"], registry=self.registry
        )
        self.reconciles = Counter(
            "sro_reconciles", "Looks at one SROJob, by result: ok or error.", ["result"], registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "sro_reconcile_duration_seconds",
            "Duration of one look at one SROJob.",
            registry=self.registry,
            buckets=LOOK_SECONDS,
        )
        self.queue_wait = Histogram(
            "sro_queue_wait_seconds", "How long an SROJob waited for a worker.", registry=self.registry
        )
        self.api_requests = Counter(
            "sro_api_requests",
            "Requests to the API server; code 0 is no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.queue_depth = Gauge("sro_queue_depth", "SROJobs that wait for a worker.", registry=self.registry)
        self.queue_oldest = Gauge(
            "sro_queue_oldest_seconds", "How long the SROJob waits that has waited longest.", registry=self.registry
        )
        self.leader = Gauge(
            "sro_leader", "1 in the process that works, 0 in those that stand by.", registry=self.registry
        )
        self.watch_gaps = Counter(
            "sro_watch_gaps", "Times that a list showed what a watch had kept back.", registry=self.registry
        )
        self.last_resync = Gauge(
            "sro_last_resync_timestamp_seconds", "When all jobs were last listed, Unix time.", registry=self.registry
        )

    def count_request(self, verb: str, resource: str, status: int) -> None:
        """One more request."""
        self.api_requests.labels(verb, resource, str(status)).inc()

    def count_reconcile(self, seconds: float, waited_seconds: float, *, has_failed: bool) -> None:
        """One more look."""
        self.reconciles.labels("error" if has_failed else "ok").inc()
        self.reconcile_seconds.observe(seconds)
        self.queue_wait.observe(waited_seconds)

    def count_news(self, before: SROJobStatus, after: SROJobStatus) -> None:
        """A status was written."""
        ended = {attempt.number for attempt in before.attempts if attempt.end_time is not None}
        for attempt in after.attempts:
            if attempt.end_time is not None and attempt.number not in ended:
                self.attempts.labels(attempt.reason or "").inc()
        if after.phase in FINAL_PHASES and before.phase != after.phase:
            reason = next((entry.reason for entry in after.conditions if entry.type == after.phase), "")
            self.finished.labels(after.phase, reason).inc()

    def note_progress(self, key: Key, phase: str, progress: Manifest | None) -> None:
        """What a job reports of itself."""
        self._progress.note(key, phase, progress)

    def forget(self, key: Key) -> None:
        """A job is gone."""
        self._progress.forget(key)

    def page(self, phases: Iterable[str]) -> bytes:
        """The exposition text.

        Args:
            phases: of every job that there is; empty for one that has none yet, or whose spec is not valid.
        """
        tally = Tally(phase or "None" for phase in phases)
        for phase in (*CONDITION_TYPES, "None"):
            self.jobs.labels(phase).set(tally[phase])
        return generate_latest(self.registry)
