"""What the rules of the lifecycle look at: one job at one moment, with the questions that they ask of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sro_api.labels import (
    REASON_IMAGE,
    REASON_POD_CONFIG,
    REASON_PODS_PENDING,
    REASON_PODS_REFUSED,
    REASON_UNSCHEDULABLE,
)
from sro_api.status import AttemptStatus
from sro_api.v1alpha1 import SROJob, SROJobSpec
from sro_operator.attempts import Ending, failure_of, running_seconds
from sro_operator.observed import AttemptJob, Observed, TrainerPod

_IMAGE_TROUBLES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_CONFIG_TROUBLES = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


@dataclass(frozen=True, kw_only=True)
class View:
    """An unfinished job, its attempts brought up to date, and what the cluster says."""

    job: SROJob
    attempts: tuple[AttemptStatus, ...]
    observed: Observed
    now: datetime

    @property
    def newest(self) -> AttemptStatus | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def ended(self) -> AttemptStatus | None:
        """The newest attempt, if it has ended: no attempt runs."""
        return self.newest if self.newest is not None and self.newest.end_time is not None else None

    @property
    def is_open(self) -> bool:
        """Whether an attempt has begun and not ended."""
        return self.newest is not None and self.newest.end_time is None

    @property
    def gang(self) -> AttemptJob | None:
        """The Job of the newest attempt, unless it is gone or going."""
        found = self.observed.job(self.newest.number) if self.newest is not None else None
        return None if found is None or found.is_deleting else found

    @property
    def pods(self) -> tuple[TrainerPod, ...]:
        """Pods of the newest attempt."""
        return self.observed.pods_of(self.newest.number) if self.newest is not None else ()

    @property
    def nodes(self) -> int:
        """Pods that the newest attempt has, or the first will have."""
        return (self.newest.nodes if self.newest is not None else None) or self.job.spec.compute.nodes

    @property
    def started(self) -> int:
        """Pods of the newest attempt that run or have run; the Job controller knows those too that lost our labels."""
        return max(sum(pod.has_started for pod in self.pods), self.gang.pods_up if self.gang else 0)

    @property
    def ending(self) -> Ending | None:
        """Why the newest attempt is coming to its end, while its Job is being given up."""
        if self.newest is None or self.gang is None or not self.gang.is_failing:
            return None
        return failure_of(self.gang, self.pods, self.newest.exits)

    @property
    def is_overdue(self) -> bool:
        """Whether the attempts have run for longer than the deadline."""
        limit = self.job.spec.run_policy.active_deadline_seconds
        return limit is not None and bool(self.attempts) and running_seconds(self.attempts, self.now) >= limit

    @property
    def startup_seconds(self) -> float | None:
        """How long the newest attempt's pods have had to start; None unless they are to and some have not."""
        gang = self.gang
        if not self.is_open or gang is None or gang.is_failing or gang.is_suspended or self.is_up:
            return None
        return (self.now - (gang.started or gang.created)).total_seconds()

    @property
    def startup_left(self) -> float | None:
        """Seconds until the newest attempt's pods should have started; None where no limit runs."""
        limit, waited = self.job.spec.run_policy.startup_timeout_seconds, self.startup_seconds
        return None if limit is None or waited is None else limit - waited

    @property
    def fitting_nodes(self) -> int | None:
        """With how many pods the job could run on the nodes that its newest attempt found; None if with none but all."""
        least = self.job.spec.compute.min_nodes
        placed = sum(pod.has_started or _kind_of(pod.waiting or "") != REASON_UNSCHEDULABLE for pod in self.pods)
        if least is None or self.gang is None or placed >= self.nodes:
            return None
        return next((nodes for nodes in range(placed, least - 1, -1) if _divides_the_batch(self.job.spec, nodes)), None)

    @property
    def shrink_left(self) -> float | None:
        """Seconds until the newest attempt gives way to one of `fitting_nodes`; None while that is not in question."""
        waited = self.startup_seconds
        if waited is None or self.fitting_nodes is None:
            return None
        return self.job.spec.compute.shrink_after_seconds - waited

    @property
    def is_up(self) -> bool:
        """Whether every pod of the newest attempt has started."""
        return self.started >= self.nodes

    @property
    def obstacle(self) -> str:
        """What keeps the next attempt from being made; empty if nothing does."""
        if self.observed.refusal is not None:
            return self.observed.refusal.message
        if self.observed.strangers:
            return f"waiting until {', '.join(self.observed.strangers)}, of an earlier job of this name, is gone"
        if self.observed.live_pods:
            return f"waiting until {len(self.observed.live_pods)} pods of the last attempt are gone"
        return ""

    @property
    def hold_up(self) -> tuple[str, str]:
        """Why pods of the newest attempt have not started: a reason, and the words of who knows."""
        if self.observed.pods_refused and len(self.pods) < self.nodes:
            return REASON_PODS_REFUSED, self.observed.pods_refused
        waiting = [pod for pod in self.pods if pod.waiting and not pod.has_started]
        for pod in waiting:
            if (reason := _kind_of(pod.waiting or "")) != REASON_PODS_PENDING:
                return reason, f"{pod.name}: {pod.waiting}"
        return REASON_PODS_PENDING, f"{waiting[0].name}: {waiting[0].waiting}" if waiting else ""

    @property
    def start_so_far(self) -> str:
        """How many pods started, and why the others have not."""
        number = self.newest.number if self.newest is not None else 0
        text = f"{self.started} of {self.nodes} pods of attempt {number} started"
        _, words = self.hold_up
        return f"{text}; {words}" if words else text


def _divides_the_batch(spec: SROJobSpec, nodes: int) -> bool:
    """As admission asks of `nodes`: every process has as many rows as every other."""
    processes = nodes * spec.compute.processes_per_node
    warm_start = spec.leader.warm_start
    if warm_start is not None and warm_start.batch_size % processes:
        return False
    return spec.optimization.batch_size % (processes * spec.optimization.gradient_accumulation_steps) == 0


def _kind_of(waiting: str) -> str:
    word = waiting.partition(":")[0]
    if word in _IMAGE_TROUBLES:
        return REASON_IMAGE
    if word in _CONFIG_TROUBLES:
        return REASON_POD_CONFIG
    return REASON_UNSCHEDULABLE if word == "Unschedulable" else REASON_PODS_PENDING
