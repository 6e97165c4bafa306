"""What to say about a job: `next_status(job, observed, now)`. Pure; rests on what is observed and on the attempts on record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from sro_api.labels import (
    ACCEPTED,
    COMPLETE,
    CONDITION_TYPES,
    FAILED,
    FINAL_PHASES,
    QUEUED,
    REASON_ACCEPTED,
    REASON_ATTEMPT_DISRUPTED,
    REASON_ATTEMPT_FAILED,
    REASON_ATTEMPT_STARTED,
    REASON_BAD_CONFIGURATION,
    REASON_DEADLINE,
    REASON_INVALID,
    REASON_PODS_PENDING,
    REASON_PODS_RUNNING,
    REASON_RESTARTS_EXHAUSTED,
    REASON_RESUMED,
    REASON_SUSPENDED,
    REASON_TRAINED,
    RESTARTING,
    RUNNING,
    SUSPENDED,
)
from sro_api.status import AttemptStatus, Condition, EvaluationStatus, OutputStatus, Phase, SROJobStatus
from sro_api.v1alpha1 import SROJob
from sro_operator.attempts import FINAL_REASONS, failure_of, recorded_attempts, restarts_used, running_seconds
from sro_operator.observed import AttemptJob, Observed, TerminationNote

MESSAGE_LIMIT = 4096


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Where a job stands: the one condition that is true besides Accepted, and why."""

    phase: Phase
    reason: str
    message: str
    since: datetime | None = None
    """When it came about, if that is known better than by the clock."""


def next_status(job: SROJob, observed: Observed, now: datetime) -> SROJobStatus:
    """The status that the job should have.

    A finished job keeps what it says for ever, whatever happens to its children. `progress` is passed through as it is: it
    belongs to the reporter.

    Args:
        job: with the status on record.
        observed: what the cluster says.
        now: for what begins or ends at this moment; whole seconds.
    """
    generation = int(job.metadata.get("generation", 1))
    if is_finished(job.status):
        seen = tuple(entry.model_copy(update={"observed_generation": generation}) for entry in job.status.conditions)
        return job.status.model_copy(update={"observed_generation": generation, "conditions": seen})
    attempts = recorded_attempts(job, observed, now)
    situation = situation_of(job, attempts, observed, now)
    attempts = _closed_by(situation, attempts, now)
    newest = attempts[-1] if attempts else None
    output, evaluation = _results(job, situation, observed, newest)
    return SROJobStatus(
        observed_generation=generation,
        phase=situation.phase,
        conditions=_conditions(job, situation, attempts, now),
        start_time=job.status.start_time or (attempts[0].start_time if attempts else None),
        completion_time=(situation.since or now) if situation.phase in FINAL_PHASES else None,
        attempts=attempts,
        attempt=newest.number if newest else None,
        restarts=restarts_used(attempts),
        progress=job.status.progress,
        output=output,
        evaluation=evaluation,
    )


def invalid_status(status: SROJobStatus, generation: int, message: str, now: datetime) -> SROJobStatus:
    """The status of a job whose spec this operator cannot read: Accepted is False, and says why."""
    situation = Situation(phase=ACCEPTED, reason=REASON_INVALID, message=message)
    accepted = _condition(status, ACCEPTED, "False", situation, generation, now)
    others = tuple(entry for entry in status.conditions if entry.type != ACCEPTED)
    return status.model_copy(update={"observed_generation": generation, "conditions": (accepted, *others)})


def is_finished(status: SROJobStatus) -> bool:
    """Whether the job is complete or failed: it never runs again."""
    return any(entry.type in FINAL_PHASES and entry.status == "True" for entry in status.conditions)


def situation_of(job: SROJob, attempts: tuple[AttemptStatus, ...], observed: Observed, now: datetime) -> Situation:
    """Where an unfinished job stands now."""
    newest = attempts[-1] if attempts else None
    policy = job.spec.run_policy
    if newest is not None and newest.reason == REASON_TRAINED:
        return Situation(phase=COMPLETE, reason=REASON_TRAINED, message=newest.message or "", since=newest.end_time)
    if observed.refusal is not None and observed.refusal.is_permanent:
        return Situation(phase=FAILED, reason=REASON_BAD_CONFIGURATION, message=observed.refusal.message)
    if newest is not None and newest.end_time is not None and (failed := _fatal(newest, job)):
        return failed
    limit = policy.active_deadline_seconds
    if limit is not None and attempts and running_seconds(attempts, now) >= limit:
        return Situation(
            phase=FAILED, reason=REASON_DEADLINE, message=f"ran for {limit} s, spec.runPolicy.activeDeadlineSeconds"
        )
    if policy.suspend:
        return _suspending(job, observed)
    if newest is None or newest.end_time is not None:
        return _between(newest, observed)
    return _in_attempt(job, newest, observed)


def _fatal(newest: AttemptStatus, job: SROJob) -> Situation | None:
    message = newest.message or ""
    if newest.reason is not None and newest.reason in FINAL_REASONS.values():
        return Situation(phase=FAILED, reason=newest.reason, message=message, since=newest.end_time)
    if newest.reason == REASON_ATTEMPT_FAILED and not newest.counted:
        limit = job.spec.run_policy.max_restarts
        text = f"attempt {newest.number} failed and all {limit} restarts are used: {message}"
        return Situation(phase=FAILED, reason=REASON_RESTARTS_EXHAUSTED, message=text, since=newest.end_time)
    return None


def _suspending(job: SROJob, observed: Observed) -> Situation:
    live = len(observed.live_pods)
    if any(pod.phase == "Running" for pod in observed.live_pods):
        text = f"suspending: {live} of {job.spec.compute.nodes} pods have yet to write a checkpoint and end"
        return Situation(phase=RUNNING, reason=REASON_PODS_RUNNING, message=text)
    text = f"{live} pods have yet to end" if live else "no pod runs; set spec.runPolicy.suspend to false to go on"
    return Situation(phase=SUSPENDED, reason=REASON_SUSPENDED, message=text)


def _between(newest: AttemptStatus | None, observed: Observed) -> Situation:
    """No attempt runs: the first, or the next, is about to be made."""
    blocked = _obstacle(observed)
    if newest is None:
        return Situation(phase=ACCEPTED, reason=REASON_ACCEPTED, message=blocked or "the first attempt is being made")
    if newest.reason == REASON_SUSPENDED:
        text = blocked or f"attempt {newest.number + 1} is being made"
        return Situation(phase=QUEUED, reason=REASON_RESUMED, message=text)
    reason = REASON_ATTEMPT_DISRUPTED if newest.reason == REASON_ATTEMPT_DISRUPTED else REASON_ATTEMPT_FAILED
    text = f"attempt {newest.number} ended: {newest.message}"
    return Situation(phase=RESTARTING, reason=reason, message=f"{text}; {blocked}" if blocked else text)


def _obstacle(observed: Observed) -> str:
    if observed.refusal is not None:
        return observed.refusal.message
    if observed.strangers:
        return f"waiting until {', '.join(observed.strangers)}, of an earlier job of this name, is gone"
    if observed.live_pods:
        return f"waiting until {len(observed.live_pods)} pods of the last attempt are gone"
    return ""


def _in_attempt(job: SROJob, newest: AttemptStatus, observed: Observed) -> Situation:
    found, pods, nodes = observed.job(newest.number), observed.pods_of(newest.number), job.spec.compute.nodes
    if found is None or found.is_deleting:
        text = f"the Job of attempt {newest.number} was deleted; its pods are ending"
        return Situation(phase=RESTARTING, reason=REASON_ATTEMPT_DISRUPTED, message=text)
    if found.is_failing:
        ending = failure_of(found, pods, newest.exits)
        text = f"attempt {newest.number} is ending: {ending.message}"
        return Situation(phase=RESTARTING, reason=ending.reason, message=text)
    if found.is_suspended:
        text = f"Job {found.name} is suspended: it waits for a queue to admit it"
        return Situation(phase=QUEUED, reason=REASON_PODS_PENDING, message=text)
    if sum(pod.has_started for pod in pods) >= nodes:
        text = f"all {nodes} pods of attempt {newest.number} started"
        return Situation(phase=RUNNING, reason=REASON_PODS_RUNNING, message=text)
    return _pending(found, observed, nodes)


def _pending(found: AttemptJob, observed: Observed, nodes: int) -> Situation:
    pods = observed.pods_of(found.attempt)
    text = f"{sum(pod.has_started for pod in pods)} of {nodes} pods of attempt {found.attempt} started"
    waiting = next((f"; {pod.name}: {pod.waiting}" for pod in pods if pod.waiting and not pod.has_started), "")
    return Situation(phase=QUEUED, reason=REASON_PODS_PENDING, message=text + waiting)


def _closed_by(situation: Situation, attempts: tuple[AttemptStatus, ...], now: datetime) -> tuple[AttemptStatus, ...]:
    """A job that fails while an attempt runs, as by its deadline, ends the attempt."""
    if situation.phase != FAILED or not attempts or attempts[-1].end_time is not None:
        return attempts
    end = {"end_time": now, "reason": situation.reason, "message": situation.message[:1024]}
    return (*attempts[:-1], attempts[-1].model_copy(update=end))


def _conditions(
    job: SROJob, situation: Situation, attempts: tuple[AttemptStatus, ...], now: datetime
) -> tuple[Condition, ...]:
    generation = int(job.metadata.get("generation", 1))
    accepted = Situation(phase=ACCEPTED, reason=REASON_ACCEPTED, message="the spec is valid")
    if situation.phase == ACCEPTED:
        accepted = situation
    entries = [_condition(job.status, ACCEPTED, "True", accepted, generation, now)]
    for kind in CONDITION_TYPES[1:]:
        if kind == situation.phase:
            entries.append(_condition(job.status, kind, "True", situation, generation, now))
            continue
        absent = Situation(phase=situation.phase, reason=_absence(kind, situation, attempts), message="")
        entries.append(_condition(job.status, kind, "False", absent, generation, now))
    return tuple(entries)


def _absence(kind: str, situation: Situation, attempts: tuple[AttemptStatus, ...]) -> str:
    """Why a condition is False: what ended it, or what is the case in its place."""
    if len(attempts) > 1 and attempts[-1].end_time is None:
        has_resumed = attempts[-2].reason == REASON_SUSPENDED
        if kind == SUSPENDED and has_resumed:
            return REASON_RESUMED
        if kind == RESTARTING and not has_resumed:
            return REASON_ATTEMPT_STARTED
    return situation.reason


def _condition(
    status: SROJobStatus, kind: str, value: str, situation: Situation, generation: int, now: datetime
) -> Condition:
    before = next((entry for entry in status.conditions if entry.type == kind), None)
    moved = before is None or before.status != value
    return Condition.model_validate(
        {
            "type": kind,
            "status": value,
            "reason": situation.reason,
            "message": situation.message[:MESSAGE_LIMIT],
            "last_transition_time": (situation.since or now)
            if moved or before is None
            else before.last_transition_time,
            "observed_generation": generation,
        }
    )


def _results(
    job: SROJob, situation: Situation, observed: Observed, newest: AttemptStatus | None
) -> tuple[OutputStatus | None, EvaluationStatus | None]:
    """What rank 0 says it wrote and measured, once the job is complete."""
    if situation.phase != COMPLETE or newest is None:
        return None, None
    notes = [pod.note for pod in observed.pods_of(newest.number) if pod.index == 0 and pod.note is not None]
    note = notes[-1] if notes else TerminationNote()
    output = OutputStatus(uri=job.spec.output.uri)
    evaluation: EvaluationStatus | None = None
    # A trainer image of another version may write what this version cannot read: the job is complete all the same.
    try:
        output = OutputStatus.model_validate({"uri": job.spec.output.uri, **(note.output or {})})
    except ValidationError:
        output = OutputStatus(uri=job.spec.output.uri)
    try:
        evaluation = EvaluationStatus.model_validate(note.evaluation) if note.evaluation else None
    except ValidationError:
        evaluation = None
    return output, evaluation
