"""The state machine of an SROJob: one table, read from its top; the first rule that holds says where the job stands. Pure.

`status.py` decides by this table and `docs/lifecycle.md` is written from it. The machine is level-triggered: a rule looks at what is
the case and never at what the status said before, so that a status that was lost is found again. Only Complete and Failed are kept
as they are, for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sro_api.labels import (
    ACCEPTED,
    COMPLETE,
    FAILED,
    FAILURE_REASONS,
    FINAL_PHASES,
    QUEUED,
    REASON_ACCEPTED,
    REASON_ATTEMPT_DISRUPTED,
    REASON_ATTEMPT_FAILED,
    REASON_ATTEMPT_STARTED,
    REASON_BAD_CONFIGURATION,
    REASON_BAD_DATA,
    REASON_DEADLINE,
    REASON_DIVERGED,
    REASON_EXPIRED,
    REASON_HELD,
    REASON_IMAGE,
    REASON_INVALID,
    REASON_NODES_SHORT,
    REASON_OUT_OF_MEMORY,
    REASON_POD_CONFIG,
    REASON_PODS_PENDING,
    REASON_PODS_REFUSED,
    REASON_PODS_RUNNING,
    REASON_RESTARTS_EXHAUSTED,
    REASON_RESUMED,
    REASON_STARTUP,
    REASON_SUSPENDED,
    REASON_TRAINED,
    REASON_UNSCHEDULABLE,
    RESTARTING,
    RUNNING,
    SUSPENDED,
)
from sro_api.status import Phase
from sro_operator.view import View

REASONS: dict[str, str] = {
    REASON_ACCEPTED: "the spec is valid",
    REASON_INVALID: "the spec breaks a rule of this operator's version; nothing is made",
    REASON_PODS_PENDING: "pods are being scheduled or their containers made",
    REASON_UNSCHEDULABLE: "no node takes a pod, in the scheduler's words",
    REASON_IMAGE: "the trainer image cannot be pulled, in the kubelet's words",
    REASON_POD_CONFIG: "a container cannot be made, as for a Secret that is missing",
    REASON_PODS_REFUSED: "the API server refuses the pods: a quota or an admission rule",
    REASON_HELD: "a queue holds the attempt's Job and has not admitted it",
    REASON_PODS_RUNNING: "every pod of the attempt has started",
    REASON_SUSPENDED: "spec.runPolicy.suspend is true",
    REASON_RESUMED: "spec.runPolicy.suspend is false again",
    REASON_ATTEMPT_STARTED: "an attempt was made",
    REASON_ATTEMPT_FAILED: "a pod failed; counts against maxRestarts",
    REASON_OUT_OF_MEMORY: "a pod was killed for its memory; counts against maxRestarts",
    REASON_NODES_SHORT: "nodes for fewer pods were found, and compute.minNodes lets the next attempt run on them; counts against nothing",
    REASON_ATTEMPT_DISRUPTED: "pods were evicted, preempted, deleted or lost with their node; counts against nothing",
    REASON_TRAINED: "trained to the last step; the output is written and verified",
    REASON_BAD_CONFIGURATION: "exit code 64, or the API server refuses the pod template for good",
    REASON_BAD_DATA: "exit code 65",
    REASON_DIVERGED: "exit code 66",
    REASON_RESTARTS_EXHAUSTED: "an attempt failed and no restart is left",
    REASON_DEADLINE: "the attempts ran for spec.runPolicy.activeDeadlineSeconds",
    REASON_STARTUP: "pods had not started after spec.runPolicy.startupTimeoutSeconds",
    REASON_EXPIRED: "spec.runPolicy.ttlSecondsAfterFinished passed; the job is deleted",
}
"""Every reason of a condition, an attempt or an event, and what it means."""

ENDLESS = (ACCEPTED, QUEUED, RUNNING, SUSPENDED, RESTARTING)
"""The phases that a job can leave."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Where a job stands: the one condition that is true besides Accepted, and why."""

    phase: Phase
    reason: str
    message: str
    since: datetime | None = None
    """When it came about, if that is known better than by the clock."""


def _never_known(_view: View) -> datetime | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One row of the table."""

    phase: Phase
    reason: str
    when: str
    """The cause in words."""
    after: tuple[str, ...]
    """Phases that it may follow, while the operator watches; after an outage, any that does not end."""
    holds: Callable[[View], bool]
    message: Callable[[View], str]
    since: Callable[[View], datetime | None] = _never_known


def situation_of(view: View) -> Situation:
    """Where an unfinished job stands now."""
    rule = next(rule for rule in RULES if rule.holds(view))
    message = rule.message(view)
    if view.observed.disrepair and rule.phase not in FINAL_PHASES:
        message = f"{message}; {view.observed.disrepair}"
    return Situation(phase=rule.phase, reason=rule.reason, message=message, since=rule.since(view))


def _ended_with(*reasons: str) -> Callable[[View], bool]:
    return lambda view: view.ended is not None and view.ended.reason in reasons


def _end_message(view: View) -> str:
    return view.ended.message or "" if view.ended else ""


def _end_time(view: View) -> datetime | None:
    return view.ended.end_time if view.ended else None


def _is_refused(view: View) -> bool:
    return view.observed.refusal is not None and view.observed.refusal.is_permanent


def _refusal(view: View) -> str:
    return view.observed.refusal.message if view.observed.refusal else ""


def _is_spent(view: View) -> bool:
    return view.ended is not None and view.ended.reason in FAILURE_REASONS and not view.ended.counted


def _spent(view: View) -> str:
    limit, number = view.job.spec.run_policy.max_restarts, view.ended.number if view.ended else 0
    return f"attempt {number} failed and all {limit} restarts are used: {_end_message(view)}"


def _deadline(view: View) -> str:
    return f"ran for {view.job.spec.run_policy.active_deadline_seconds} s, spec.runPolicy.activeDeadlineSeconds"


def _is_late(view: View) -> bool:
    return view.startup_left is not None and view.startup_left <= 0


def _late(view: View) -> str:
    limit = view.job.spec.run_policy.startup_timeout_seconds
    return f"{view.start_so_far}, after {limit} s, spec.runPolicy.startupTimeoutSeconds"


def _is_short(view: View) -> bool:
    return view.shrink_left is not None and view.shrink_left <= 0


def _short(view: View) -> str:
    wait = view.job.spec.compute.shrink_after_seconds
    return f"{view.start_so_far}, after {wait} s, spec.compute.shrinkAfterSeconds; the next attempt has {view.fitting_nodes} pods"


def _is_told_to_stop(view: View) -> bool:
    return view.job.spec.run_policy.suspend


def _is_stopping(view: View) -> bool:
    return _is_told_to_stop(view) and any(pod.phase == "Running" for pod in view.observed.live_pods)


def _stopping(view: View) -> str:
    return f"suspending: {len(view.observed.live_pods)} of {view.nodes} pods have yet to write a checkpoint and end"


def _stopped(view: View) -> str:
    live = len(view.observed.live_pods)
    return f"{live} pods have yet to end" if live else "no pod runs; set spec.runPolicy.suspend to false to go on"


def _first(view: View) -> str:
    return view.obstacle or "the first attempt is being made"


def _next(view: View) -> str:
    return view.obstacle or f"attempt {view.ended.number + 1 if view.ended else 1} is being made"


def _between(view: View) -> str:
    text = f"attempt {view.ended.number if view.ended else 0} ended: {_end_message(view)}"
    return f"{text}; {view.obstacle}" if view.obstacle else text


def _is_orphaned(view: View) -> bool:
    return view.is_open and view.gang is None


def _orphaned(view: View) -> str:
    return f"the Job of attempt {view.newest.number if view.newest else 0} was deleted; its pods are ending"


def _is_ending_with(reason: str) -> Callable[[View], bool]:
    return lambda view: view.ending is not None and view.ending.reason == reason


def _ending(view: View) -> str:
    number, ending = view.newest.number if view.newest else 0, view.ending
    return f"attempt {number} is ending: {ending.message if ending else ''}"


def _is_held(view: View) -> bool:
    return view.gang is not None and view.gang.is_suspended


def _held(view: View) -> str:
    name = view.gang.name if view.gang else ""
    return f"Job {name} is suspended: it waits for a queue to admit it"


def _up(view: View) -> str:
    return f"all {view.nodes} pods of attempt {view.newest.number if view.newest else 0} started"


def _is_held_up_by(reason: str) -> Callable[[View], bool]:
    return lambda view: view.hold_up[0] == reason


def _so_far(view: View) -> str:
    return view.start_so_far


def _failed(reason: str, when: str) -> Rule:
    """A failure that is written in the newest attempt: it stands whatever else is the case."""
    return Rule(
        phase=FAILED,
        reason=reason,
        when=when,
        after=ENDLESS,
        holds=_ended_with(reason),
        message=_end_message,
        since=_end_time,
    )


def _gone(reason: str, when: str) -> tuple[Rule, Rule]:
    """An attempt that ends, and one that has ended, both to be followed by another."""
    after = (QUEUED, RUNNING, RESTARTING, SUSPENDED)
    return (
        Rule(phase=RESTARTING, reason=reason, when=when, after=after, holds=_ended_with(reason), message=_between),
        Rule(phase=RESTARTING, reason=reason, when=f"{when}; its other pods are being ended", after=after,
             holds=_is_ending_with(reason), message=_ending),
    )  # fmt: skip


def _waits(reason: str, when: str) -> Rule:
    after = (ACCEPTED, QUEUED, RESTARTING, SUSPENDED)
    return Rule(phase=QUEUED, reason=reason, when=when, after=after, holds=_is_held_up_by(reason), message=_so_far)


_failed_gone, _failed_going = _gone(REASON_ATTEMPT_FAILED, "a pod failed")
_memory_gone, _memory_going = _gone(REASON_OUT_OF_MEMORY, "a pod was killed for its memory")
_disrupted_gone, _disrupted_going = _gone(REASON_ATTEMPT_DISRUPTED, "the attempt's pods were evicted, deleted or lost")

RULES: tuple[Rule, ...] = (
    Rule(phase=COMPLETE, reason=REASON_TRAINED, when="every pod of the attempt exited with 0",
         after=(QUEUED, RUNNING, SUSPENDED, RESTARTING), holds=_ended_with(REASON_TRAINED), message=_end_message, since=_end_time),
    Rule(phase=FAILED, reason=REASON_BAD_CONFIGURATION, when="the API server refuses the attempt's Job as invalid",
         after=ENDLESS, holds=_is_refused, message=_refusal),
    _failed(REASON_BAD_CONFIGURATION, "a pod exited with 64: the run configuration cannot be satisfied"),
    _failed(REASON_BAD_DATA, "a pod exited with 65: a data source or a model cannot be used"),
    _failed(REASON_DIVERGED, "a pod exited with 66: the loss is no longer finite"),
    _failed(REASON_DEADLINE, "an attempt was ended by the deadline"),
    _failed(REASON_STARTUP, "an attempt was ended because its pods did not start"),
    Rule(phase=FAILED, reason=REASON_RESTARTS_EXHAUSTED, when="an attempt failed and maxRestarts of them were followed by another",
         after=ENDLESS, holds=_is_spent, message=_spent, since=_end_time),
    Rule(phase=FAILED, reason=REASON_DEADLINE, when="the attempts together ran for activeDeadlineSeconds", after=ENDLESS,
         holds=lambda view: view.is_overdue, message=_deadline),
    Rule(phase=RUNNING, reason=REASON_PODS_RUNNING, when="told to suspend while pods run: they write a checkpoint and end",
         after=(QUEUED, RUNNING), holds=_is_stopping, message=_stopping),
    Rule(phase=SUSPENDED, reason=REASON_SUSPENDED, when="told to suspend, and no pod runs",
         after=(ACCEPTED, QUEUED, RUNNING, RESTARTING), holds=_is_told_to_stop, message=_stopped),
    Rule(phase=ACCEPTED, reason=REASON_ACCEPTED, when="no attempt was made yet", after=(ACCEPTED, SUSPENDED),
         holds=lambda view: view.newest is None, message=_first),
    Rule(phase=QUEUED, reason=REASON_RESUMED, when="the last attempt was ended to suspend the job, which may go on",
         after=(SUSPENDED,), holds=_ended_with(REASON_SUSPENDED), message=_next),
    Rule(phase=RESTARTING, reason=REASON_NODES_SHORT, when="the attempt was ended for one with fewer pods",
         after=(QUEUED, RESTARTING, SUSPENDED), holds=_ended_with(REASON_NODES_SHORT), message=_between),
    _memory_gone,
    _disrupted_gone,
    _failed_gone,
    Rule(phase=RESTARTING, reason=REASON_ATTEMPT_DISRUPTED, when="the attempt's Job was deleted, and its pods are ending",
         after=(QUEUED, RUNNING, RESTARTING), holds=_is_orphaned, message=_orphaned),
    _memory_going,
    _disrupted_going,
    _failed_going,
    Rule(phase=QUEUED, reason=REASON_HELD, when="the attempt's Job is suspended by a queue",
         after=(ACCEPTED, QUEUED, RUNNING, RESTARTING, SUSPENDED),
         holds=_is_held, message=_held),
    Rule(phase=RUNNING, reason=REASON_PODS_RUNNING, when="every pod of the attempt has started",
         after=(ACCEPTED, QUEUED, RESTARTING, SUSPENDED), holds=lambda view: view.is_up, message=_up),
    Rule(phase=FAILED, reason=REASON_STARTUP, when="pods have not started after startupTimeoutSeconds", after=(QUEUED, ACCEPTED),
         holds=_is_late, message=_late),
    Rule(phase=RESTARTING, reason=REASON_NODES_SHORT, when="pods had no node for shrinkAfterSeconds, and minNodes lets fewer do",
         after=(ACCEPTED, QUEUED, RESTARTING, SUSPENDED), holds=_is_short, message=_short),
    _waits(REASON_PODS_REFUSED, "the Job controller may not make the attempt's pods"),
    _waits(REASON_IMAGE, "the image of a pod cannot be pulled"),
    _waits(REASON_POD_CONFIG, "a pod's container cannot be made"),
    _waits(REASON_UNSCHEDULABLE, "no node takes a pod"),
    _waits(REASON_PODS_PENDING, "pods of the attempt have not started"),
)  # fmt: skip
"""Read from the top; the first that holds. The last holds whenever an attempt runs, so that there is always one."""
