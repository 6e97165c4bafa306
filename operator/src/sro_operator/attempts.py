"""The record of a job's attempts: when each began and ended, why, and whether it counts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sro_api.exit_codes import FINAL_EXIT_CODES, ExitCode
from sro_api.labels import (
    FAILURE_REASONS,
    REASON_ATTEMPT_DISRUPTED,
    REASON_ATTEMPT_FAILED,
    REASON_BAD_CONFIGURATION,
    REASON_BAD_DATA,
    REASON_DIVERGED,
    REASON_OUT_OF_MEMORY,
    REASON_SUSPENDED,
    REASON_TRAINED,
)
from sro_api.status import AttemptStatus, PodExit
from sro_api.v1alpha1 import SROJob
from sro_operator.observed import AttemptJob, Observed, TrainerPod

FINAL_REASONS = {
    ExitCode.BAD_CONFIGURATION: REASON_BAD_CONFIGURATION,
    ExitCode.BAD_DATA: REASON_BAD_DATA,
    ExitCode.DIVERGED: REASON_DIVERGED,
}
"""What a final exit code means."""
EVIDENCE_SECONDS = 3.0
"""How long after a Job's failure its cause is waited for, where neither Job nor pods tell one."""
EXIT_LIMIT = 16
ATTEMPT_LIMIT = 128
MESSAGE_LIMIT = 1024
_SIGTERM_DEATH = 128 + 15
_ASKED_TO_STOP = frozenset({int(ExitCode.TERMINATED), _SIGTERM_DEATH})
_JOB_EXIT = re.compile(r"failed with exit code (\d+)")
_KILLED_FOR_MEMORY = "OOMKilled"
_MEMORY_ADVICE = "raise spec.compute.resources.limits.memory, or lower spec.optimization.batchSize"
_JOB_DISRUPTION = "has condition DisruptionTarget"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Why an attempt ended."""

    reason: str
    message: str
    is_evident: bool = True
    """Whether anything tells the cause; a pod's last words may reach us after its Job's end."""

    @property
    def is_final(self) -> bool:
        """Whether no further attempt can do better."""
        return self.reason in FINAL_REASONS.values()


def recorded_attempts(job: SROJob, observed: Observed, now: datetime) -> tuple[AttemptStatus, ...]:
    """The attempts so far, oldest first: those on record brought up to date, and those found in the cluster."""
    # The record is brief: it counts only where the Job is gone, of which everything else could be learnt.
    present = {found.attempt for found in observed.jobs}
    known = {attempt.number: attempt for attempt in observed.record if attempt.number not in present}
    known |= {attempt.number: _remembered(attempt, known.get(attempt.number)) for attempt in job.status.attempts}
    for found in observed.jobs:
        known.setdefault(found.attempt, _begun(found))
    attempts: list[AttemptStatus] = []
    for number in sorted(known):
        attempts.append(_updated(known[number], attempts, job, observed, now))
    return _shortened(attempts)


def restarts_used(attempts: Iterable[AttemptStatus]) -> int:
    """How many of `maxRestarts` are gone."""
    return sum(attempt.counted for attempt in attempts)


def running_seconds(attempts: Iterable[AttemptStatus], now: datetime) -> float:
    """Time spent in attempts, waiting for their pods included; between attempts and suspended, the clock stands still."""
    return sum(((attempt.end_time or now) - attempt.start_time).total_seconds() for attempt in attempts)


def nodes_of(job: SROJob, attempts: Iterable[AttemptStatus], found: AttemptJob) -> int:
    """Pods that an attempt was made of, by what the one before it left.

    By its Job only where nothing is known of that one: anybody with the right can edit a Job's size.
    """
    before = next((attempt for attempt in attempts if attempt.number == found.attempt - 1), None)
    return found.nodes if before is None and found.attempt > 1 else next_nodes(job, before)


def next_nodes(job: SROJob, before: AttemptStatus | None) -> int:
    """Pods that an attempt is made of after this one, or the first after none."""
    return (before.next_nodes if before is not None else None) or job.spec.compute.nodes


def failure_of(found: AttemptJob, pods: Iterable[TrainerPod], recorded: tuple[PodExit, ...] = ()) -> Ending:
    """Why a Job that failed, or is failing, did so: the gravest cause among its pods and in its own condition.

    Args:
        found: the Job.
        pods: its pods, as far as they are known.
        recorded: exits on record, which count where no pod tells more.
    """
    exits = [pod for pod in pods if pod.exit is not None and pod.exit.exit_code != 0]
    codes = {pod.exit.exit_code for pod in exits if pod.exit is not None} | _codes_in(found.failure_message)
    codes |= {entry.exit_code for entry in recorded}
    for code in sorted(codes & {int(code) for code in FINAL_EXIT_CODES}):
        blamed = [pod for pod in exits if pod.exit is not None and pod.exit.exit_code == code]
        return Ending(reason=FINAL_REASONS[ExitCode(code)], message=_blame(blamed) or found.failure_message)
    own = [pod for pod in exits if not pod.is_deleting and not _was_stopped(pod)]
    disrupted = _JOB_DISRUPTION in found.failure_message or (not own and any(pod.is_disrupted for pod in exits))
    stopped = bool(exits) and not own
    if disrupted or stopped:
        return Ending(reason=REASON_ATTEMPT_DISRUPTED, message=_blame(exits) or found.failure_message)
    if not exits and recorded:
        stopped = {entry.exit_code for entry in recorded} <= _ASKED_TO_STOP
        text = _told(f"pod {recorded[0].index}", recorded[0], len(recorded))
        return Ending(reason=REASON_ATTEMPT_DISRUPTED, message=text) if stopped else _failure(text, recorded)
    message = _blame(own) or found.failure_message or found.failure_reason
    return _failure(message, [pod.exit for pod in own if pod.exit is not None])


def _failure(message: str, exits: Sequence[PodExit]) -> Ending:
    if any(entry.reason == _KILLED_FOR_MEMORY for entry in exits):
        return Ending(reason=REASON_OUT_OF_MEMORY, message=f"{message}; {_MEMORY_ADVICE}")
    return Ending(reason=REASON_ATTEMPT_FAILED, message=message, is_evident=bool(exits))


def failed_exits(attempt: AttemptStatus, pods: Iterable[TrainerPod]) -> tuple[PodExit, ...]:
    """The pods that failed, each once, by index: what is on record, and what is seen besides."""
    exits = {entry.index: entry for entry in attempt.exits}
    failed = [pod for pod in pods if pod.exit is not None and pod.exit.exit_code != 0]
    # What the Job controller deletes after the first failure ends on its signal, and is no cause.
    for pod in [pod for pod in failed if not pod.is_deleting] or failed:
        if pod.exit is not None:
            exits.setdefault(pod.index, pod.exit)
    return tuple(exits[index] for index in sorted(exits))[:EXIT_LIMIT]


def _remembered(attempt: AttemptStatus, kept: AttemptStatus | None) -> AttemptStatus:
    """The status tells more than the record, unless it was lost before the attempt ended."""
    return kept if kept is not None and attempt.end_time is None else attempt


def _shortened(attempts: list[AttemptStatus]) -> tuple[AttemptStatus, ...]:
    """At most as many as a status may hold: of those that count against nothing, the oldest go."""
    surplus = len(attempts) - ATTEMPT_LIMIT
    if surplus <= 0:
        return tuple(attempts)
    dropped = [attempt.number for attempt in attempts[:-1] if not attempt.counted][:surplus]
    return tuple(attempt for attempt in attempts if attempt.number not in dropped)


def _begun(found: AttemptJob) -> AttemptStatus:
    return AttemptStatus(
        number=found.attempt, start_time=found.started or found.created, resumed_from_step=found.resumed_from_step
    )


def _updated(
    attempt: AttemptStatus, before: list[AttemptStatus], job: SROJob, observed: Observed, now: datetime
) -> AttemptStatus:
    found, pods = observed.job(attempt.number), observed.pods_of(attempt.number)
    if found is not None and found.finished != "Complete" and attempt.reason != REASON_SUSPENDED:
        attempt = attempt.model_copy(update={"exits": failed_exits(attempt, pods)})
    if attempt.end_time is not None:
        return attempt
    if found is None:
        return attempt if any(pod.is_live for pod in pods) else _vanished(attempt, job, now)
    nodes = nodes_of(job, before, found)
    attempt = attempt.model_copy(update={"start_time": found.started or found.created, "nodes": nodes})
    if found.finished == "Complete":
        message = f"all {nodes} pods completed"
        return _closed(attempt, Ending(reason=REASON_TRAINED, message=message), found.ended or now)
    if not found.is_failing:
        return attempt
    ending = failure_of(found, pods, attempt.exits)
    if not ending.is_evident and (now - (found.ended or now)).total_seconds() < EVIDENCE_SECONDS:
        return attempt
    left = restarts_used(before) < job.spec.run_policy.max_restarts
    is_fatal = ending.is_final or (ending.reason in FAILURE_REASONS and not left)
    if found.finished is None and not is_fatal:
        # The Job controller still ends the other pods: a graver cause may show up.
        return attempt
    counted = ending.reason in FAILURE_REASONS and left
    return _closed(attempt, ending, found.ended or now).model_copy(update={"counted": counted})


def _vanished(attempt: AttemptStatus, job: SROJob, now: datetime) -> AttemptStatus:
    if job.spec.run_policy.suspend:
        return _closed(attempt, Ending(reason=REASON_SUSPENDED, message="stopped to suspend the job"), now)
    return _closed(attempt, Ending(reason=REASON_ATTEMPT_DISRUPTED, message="its Job was deleted"), now)


def _closed(attempt: AttemptStatus, ending: Ending, end: datetime) -> AttemptStatus:
    update = {"end_time": end, "reason": ending.reason, "message": ending.message[:MESSAGE_LIMIT]}
    return attempt.model_copy(update=update)


def _was_stopped(pod: TrainerPod) -> bool:
    return pod.exit is not None and (pod.is_disrupted or pod.exit.exit_code in _ASKED_TO_STOP)


def _codes_in(message: str) -> set[int]:
    return {int(code) for code in _JOB_EXIT.findall(message)}


def _blame(pods: list[TrainerPod]) -> str:
    if not pods or pods[0].exit is None:
        return ""
    return _told(f"pod {pods[0].name}", pods[0].exit, len(pods))


def _told(pod: str, entry: PodExit, count: int) -> str:
    more = f" ({count - 1} more failed)" if count > 1 else ""
    text = f": {entry.message}" if entry.message else ""
    return f"{pod} exited with {entry.exit_code}, {entry.reason}{more}{text}"
