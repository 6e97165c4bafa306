"""What to say about a job: `next_status(job, observed, now)`. Pure; decided by the table in `lifecycle.py`."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from pydantic import ValidationError

from sro_api.labels import (
    ACCEPTED,
    COMPLETE,
    CONDITION_TYPES,
    FAILED,
    FINAL_PHASES,
    REASON_ACCEPTED,
    REASON_ATTEMPT_DISRUPTED,
    REASON_ATTEMPT_STARTED,
    REASON_INVALID,
    REASON_NODES_SHORT,
    REASON_RESUMED,
    REASON_SUSPENDED,
    RESTARTING,
    SUSPENDED,
)
from sro_api.status import AttemptStatus, Condition, EvaluationStatus, OutputStatus, SROJobStatus
from sro_api.v1alpha1 import SROJob
from sro_operator.attempts import recorded_attempts, restarts_used
from sro_operator.lifecycle import Situation, situation_of
from sro_operator.observed import Observed, TerminationNote
from sro_operator.view import View

MESSAGE_LIMIT = 4096


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
    view = View(job=job, attempts=attempts, observed=observed, now=now)
    situation = situation_of(view)
    attempts = _closed_by(situation, view)
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
        disruptions=sum(attempt.reason == REASON_ATTEMPT_DISRUPTED for attempt in attempts),
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


class Difference(Enum):
    """In what two statuses differ, the least first."""

    START = "when the running attempt started, which is known better once its Job has been begun with"
    WORDS = "the messages of conditions too, which change with every pod of a gang that starts"
    MORE = "what somebody may be waiting for"


def difference(before: SROJobStatus, after: SROJobStatus) -> Difference:
    """In what two statuses differ that are not the same."""
    if _without_start(before) == _without_start(after):
        return Difference.START
    return Difference.WORDS if _without_words(before) == _without_words(after) else Difference.MORE


def _without_start(status: SROJobStatus) -> SROJobStatus:
    attempts = tuple(
        attempt if attempt.end_time is not None else attempt.model_copy(update={"start_time": None})
        for attempt in status.attempts
    )
    return status.model_copy(update={"attempts": attempts, "progress": None})


def _without_words(status: SROJobStatus) -> SROJobStatus:
    bare = tuple(entry.model_copy(update={"message": ""}) for entry in status.conditions)
    return _without_start(status.model_copy(update={"conditions": bare}))


def _closed_by(situation: Situation, view: View) -> tuple[AttemptStatus, ...]:
    """A job that fails while an attempt runs, as by its deadline, ends the attempt; so does one that goes on with fewer pods."""
    is_short = situation.reason == REASON_NODES_SHORT
    if not view.is_open or not (situation.phase == FAILED or is_short):
        return view.attempts
    end: dict[str, object] = {"end_time": view.now, "reason": situation.reason, "message": situation.message[:1024]}
    if is_short:
        end["next_nodes"] = view.fitting_nodes
    return (*view.attempts[:-1], view.attempts[-1].model_copy(update=end))


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
