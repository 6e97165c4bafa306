"""What Prometheus may ask of an operator process."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sro_api.labels import CONDITION_TYPES


class Metrics:
    """The metrics of one operator process, in a registry of their own."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self.jobs = Gauge("sro_jobs", "SROJobs by phase.", ["phase"], registry=self.registry)
        self.reconciles = Counter(
            "sro_reconciles", "Looks at one SROJob, by result: ok or error.", ["result"], registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "sro_reconcile_duration_seconds", "Duration of one look at one SROJob.", registry=self.registry
        )
        self.api_requests = Counter(
            "sro_api_requests",
            "Requests to the API server, watches apart; code 0 is no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.queue_depth = Gauge("sro_queue_depth", "SROJobs that wait for a worker.", registry=self.registry)
        self.watch_lag = Gauge(
            "sro_watch_lag_seconds", "For how long a watch has owed a change that a list shows.", registry=self.registry
        )
        self.last_resync = Gauge(
            "sro_last_resync_timestamp_seconds", "When all jobs were last listed, Unix time.", registry=self.registry
        )

    def count_request(self, verb: str, resource: str, status: int) -> None:
        """One more request."""
        self.api_requests.labels(verb, resource, str(status)).inc()

    def count_reconcile(self, seconds: float, *, has_failed: bool) -> None:
        """One more look."""
        self.reconciles.labels("error" if has_failed else "ok").inc()
        self.reconcile_seconds.observe(seconds)

    def page(self, phases: Iterable[str]) -> bytes:
        """The exposition text.

        Args:
            phases: of every job that there is; empty for one whose spec is not valid.
        """
        tally = Tally(phase or "Invalid" for phase in phases)
        for phase in (*CONDITION_TYPES, "Invalid"):
            self.jobs.labels(phase).set(tally[phase])
        return generate_latest(self.registry)
