"""What to do about a job, given the status it should have: `next_plan(...)`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sro_api.labels import FAILURE_REASONS, REASON_NODES_SHORT, REASON_SUSPENDED
from sro_api.sources import parse_uri
from sro_api.status import AttemptStatus, SROJobStatus
from sro_api.v1alpha1 import SROJob
from sro_operator.attempts import EVIDENCE_SECONDS, next_nodes, running_seconds
from sro_operator.observed import AttemptJob, Observed
from sro_operator.settings import OperatorSettings
from sro_operator.status import is_finished
from sro_operator.view import View

RECHECK_SECONDS = 5.0
"""How soon to look again at what others have to finish, should their event be lost."""
STARTUP_RECHECK_SECONDS = 15.0
"""How soon to look again at pods that have not started: what a quota refuses makes no event on any of our objects."""


@dataclass(frozen=True, kw_only=True)
class StartAttempt:
    """Make the children of this attempt."""

    number: int
    resumed_from_step: int
    nodes: int
    """Pods that it is made of."""


@dataclass(frozen=True, kw_only=True)
class DeleteAttempt:
    """Delete this Job and, through it, its pods, which checkpoint on the signal."""

    job: AttemptJob


@dataclass(frozen=True, kw_only=True)
class KeepRecord:
    """Write down the ended attempts where they outlive their Jobs."""


@dataclass(frozen=True, kw_only=True)
class DeleteSelf:
    """Delete the SROJob: its time to live is over."""


Action = StartAttempt | DeleteAttempt | KeepRecord | DeleteSelf


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do now, and when to look again though nothing happens."""

    actions: tuple[Action, ...] = ()
    recheck_seconds: float | None = None


def next_plan(job: SROJob, status: SROJobStatus, observed: Observed, now: datetime, settings: OperatorSettings) -> Plan:
    """Decide what to do.

    Args:
        job: the spec, and the status on record.
        status: what `next_status` says.
        observed: what the cluster says.
        now: the time.
        settings: pauses before restarts, attempts to keep.
    """
    plan = _next_plan(job, status, observed, now, settings)
    if any(isinstance(action, StartAttempt | DeleteSelf) for action in plan.actions) or _is_on_record(status, observed):
        return plan
    return replace(plan, actions=(KeepRecord(), *plan.actions))


def _next_plan(
    job: SROJob, status: SROJobStatus, observed: Observed, now: datetime, settings: OperatorSettings
) -> Plan:
    if is_finished(status):
        return _after_the_end(job, status, observed, now)
    if job.spec.run_policy.suspend:
        return _ending(tuple(found for found in observed.jobs if found.finished is None))
    newest = status.attempts[-1] if status.attempts else None
    if newest is not None and newest.end_time is None:
        return Plan(recheck_seconds=_until_news(job, status, observed, now))
    # Ended by us, for one of fewer pods; one that ended by itself is left to the Job controller.
    superseded = _ending(tuple(found for found in observed.jobs if found.finished is None))
    if superseded.actions:
        return superseded
    if observed.strangers or observed.live_pods or any(found.finished is None for found in observed.jobs):
        return Plan(recheck_seconds=RECHECK_SECONDS)
    wait = _pause_left(status.attempts, now, settings)
    if wait > 0:
        return Plan(recheck_seconds=wait)
    number = newest.number + 1 if newest else 1
    superfluous = tuple(found for found in observed.jobs if found.attempt < number - 1 - settings.kept_attempts)
    start = StartAttempt(number=number, resumed_from_step=_resume_step(job), nodes=next_nodes(job, newest))
    return Plan(actions=(*(DeleteAttempt(job=found) for found in superfluous), start))


def restart_pause(attempts: tuple[AttemptStatus, ...], settings: OperatorSettings) -> float:
    """Seconds between the end of the newest attempt and the next: doubled by each failure in a row, none where it was ended
    by the user or for want of nodes."""
    if not attempts or attempts[-1].reason in (REASON_SUSPENDED, REASON_NODES_SHORT):
        return 0.0
    failures = 0
    for attempt in reversed(attempts):
        if attempt.reason not in FAILURE_REASONS:
            break
        failures += 1
    return min(settings.restart_base_seconds * 2.0 ** max(0, failures - 1), settings.restart_limit_seconds)


def _is_on_record(status: SROJobStatus, observed: Observed) -> bool:
    """Whether every ended attempt is told of by its Job or by the record."""
    known = {attempt.number for attempt in observed.record} | {found.attempt for found in observed.jobs}
    return all(attempt.number in known for attempt in status.attempts if attempt.end_time is not None)


def _after_the_end(job: SROJob, status: SROJobStatus, observed: Observed, now: datetime) -> Plan:
    unfinished = tuple(found for found in observed.jobs if found.finished is None)
    ttl = job.spec.run_policy.ttl_seconds_after_finished
    if ttl is None or status.completion_time is None:
        return _ending(unfinished)
    left = (status.completion_time + timedelta(seconds=ttl) - now).total_seconds()
    if left <= 0:
        return Plan(actions=(DeleteSelf(),))
    ending = _ending(unfinished)
    return Plan(actions=ending.actions, recheck_seconds=min(left, ending.recheck_seconds or left))


def _ending(unfinished: tuple[AttemptJob, ...]) -> Plan:
    """End these Jobs. One that already fails is left to the Job controller, so that its pods' logs stay."""
    actions = tuple(DeleteAttempt(job=found) for found in unfinished if not found.is_deleting and not found.is_failing)
    return Plan(actions=actions, recheck_seconds=RECHECK_SECONDS if unfinished else None)


def _until_news(job: SROJob, status: SROJobStatus, observed: Observed, now: datetime) -> float | None:
    """Until a limit is reached; sooner where a failing Job's cause, or pods that do not start or end, are waited for."""
    view = View(job=job, attempts=status.attempts, observed=observed, now=now)
    limit = job.spec.run_policy.active_deadline_seconds
    waits = [] if limit is None else [limit - running_seconds(status.attempts, now)]
    waits += [left for left in (view.startup_left, view.shrink_left) if left is not None]
    if view.gang is None or view.gang.is_failing:
        waits.append(EVIDENCE_SECONDS)
    elif not view.is_up and not view.gang.is_suspended:
        waits.append(STARTUP_RECHECK_SECONDS)
    return max(0.1, min(waits)) if waits else None


def _pause_left(attempts: tuple[AttemptStatus, ...], now: datetime, settings: OperatorSettings) -> float:
    if not attempts or attempts[-1].end_time is None:
        return 0.0
    due = attempts[-1].end_time + timedelta(seconds=restart_pause(attempts, settings))
    return (due - now).total_seconds()


def _resume_step(job: SROJob) -> int:
    """The last checkpoint reported, if it outlives the pod that wrote it."""
    progress = job.status.progress
    if progress is None or progress.last_checkpoint_step is None:
        return 0
    return progress.last_checkpoint_step if _is_durable(job) else 0


def _is_durable(job: SROJob) -> bool:
    uri = parse_uri(job.spec.output.checkpoints or job.spec.output.uri)
    if uri.scheme == "pvc":
        return True
    folders = (mount.mount_path.rstrip("/") for mount in job.spec.compute.volume_mounts)
    return uri.scheme == "file" and any(f"{uri.path}/".startswith(f"{folder}/") for folder in folders)
