"""What the cluster says about one SROJob, as plain frozen data. Pure: manifests in, facts out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sro_api.base import Manifest
from sro_api.labels import ATTEMPT_LABEL, JOB_UID_LABEL
from sro_api.status import AttemptStatus, PodExit

RESUMED_FROM_ANNOTATION = "sro.dev/resumed-from-step"
"""On an attempt's Job: the checkpoint step that was known when it was made."""
POD_GROUP_ANNOTATION = "sro.dev/pod-group"
"""On an attempt's Job: apiVersion of the PodGroup that its pods are of."""
TRAINER_CONTAINER = "trainer"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
MESSAGE_LIMIT = 1024
_ATTEMPT_NAME = re.compile(r"-a[1-9][0-9]{0,8}$")


@dataclass(frozen=True, kw_only=True)
class TerminationNote:
    """What a trainer wrote into its termination message."""

    reason: str | None = None
    message: str = ""
    evaluation: Manifest | None = None
    output: Manifest | None = None


@dataclass(frozen=True, kw_only=True)
class TrainerPod:
    """One pod of a gang."""

    name: str
    uid: str
    attempt: int
    index: int
    """Completion index, which is the node rank."""
    phase: str
    is_deleting: bool = False
    is_disrupted: bool = False
    """Evicted, preempted, or lost with its node."""
    waiting: str | None = None
    """Why it does not run yet, in the scheduler's or the kubelet's words."""
    exit: PodExit | None = None
    """How the trainer container ended; None while it has not."""
    note: TerminationNote | None = None
    owner_uid: str | None = None
    """Of the Job that made it."""

    @property
    def is_live(self) -> bool:
        """Whether its processes may still run."""
        return self.phase not in ("Succeeded", "Failed")

    @property
    def has_started(self) -> bool:
        """Whether its processes run or have run."""
        return self.phase in ("Running", "Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class AttemptJob:
    """The batch/v1 Job of one attempt."""

    name: str
    uid: str
    resource_version: str
    attempt: int
    created: datetime
    started: datetime | None = None
    is_suspended: bool = False
    """Held by a queue: the operator never suspends a Job."""
    is_deleting: bool = False
    is_failing: bool = False
    """The Job controller gave it up and ends its pods."""
    finished: Literal["Complete", "Failed"] | None = None
    ended: datetime | None = None
    failure_reason: str = ""
    failure_message: str = ""
    resumed_from_step: int = 0
    pod_group: str = ""
    """apiVersion of its PodGroup; empty if it has none."""
    nodes: int = 1
    """Pods that its spec asks for now."""
    pods_up: int = 0
    """Pods that the Job controller counts as ready or succeeded."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The API server refused a child."""

    message: str
    is_permanent: bool
    """The same child would be refused again."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything that a decision about one SROJob rests on, besides the SROJob itself."""

    jobs: tuple[AttemptJob, ...] = ()
    """Its own attempts' Jobs, by number."""
    pods: tuple[TrainerPod, ...] = ()
    """Pods with its name, those seen to end and gone since included."""
    strangers: tuple[str, ...] = ()
    """Jobs of an earlier SROJob of this name, which the garbage collector has not reached yet."""
    refusal: Refusal | None = None
    record: tuple[AttemptStatus, ...] = ()
    """Attempts that ended, as kept on the job's Service."""
    pods_refused: str = ""
    """What the API server said to the Job controller when it refused the newest attempt's pods."""
    disrepair: str = ""
    """Why a child that is not as it should be cannot be put right."""

    def job(self, attempt: int) -> AttemptJob | None:
        """The Job of an attempt, if it exists."""
        return next((job for job in self.jobs if job.attempt == attempt), None)

    def pods_of(self, attempt: int) -> tuple[TrainerPod, ...]:
        """An attempt's pods, by index."""
        return tuple(pod for pod in self.pods if pod.attempt == attempt)

    @property
    def live_pods(self) -> tuple[TrainerPod, ...]:
        """Pods whose processes may still run, of whatever attempt."""
        return tuple(pod for pod in self.pods if pod.is_live)


def observe(
    uid: str,
    jobs: Iterable[Manifest],
    pods: Iterable[TrainerPod],
    refusal: Refusal | None = None,
    record: tuple[AttemptStatus, ...] = (),
) -> Observed:
    """Sort out what was read.

    Args:
        uid: of the SROJob.
        jobs: manifests of the Jobs that carry its name.
        pods: the pods that carry its name.
        refusal: what the API server said to the last write, if it refused.
        record: attempts that ended, as kept on the job's Service.
    """
    # One that is called otherwise than any attempt is somebody's own, whatever it says about its owner.
    jobs = [job for job in jobs if _ATTEMPT_NAME.search(job["metadata"]["name"])]
    own = [job for job in jobs if is_child_of(job, uid)]
    strangers = tuple(job["metadata"]["name"] for job in jobs if not is_child_of(job, uid))
    return Observed(
        jobs=tuple(sorted((attempt_job(job) for job in own), key=lambda job: job.attempt)),
        pods=tuple(sorted(pods, key=lambda pod: (pod.attempt, pod.index, pod.name))),
        strangers=strangers,
        refusal=refusal,
        record=record,
    )


def attempt_job(manifest: Manifest) -> AttemptJob:
    """Read a batch/v1 Job of ours."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    conditions = {entry["type"]: entry for entry in status.get("conditions", ()) if entry.get("status") == "True"}
    # FailureTarget comes first and stays: the attempt ended there, whatever time its other pods take to go.
    failed = conditions.get("FailureTarget") or conditions.get("Failed") or {}
    end = conditions.get("Complete") or failed
    return AttemptJob(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        # By its name, which nobody can change, and not by its label.
        attempt=_number(metadata["name"].rpartition("-a")[2]),
        created=_time(metadata["creationTimestamp"]),
        started=_time(status["startTime"]) if "startTime" in status else None,
        is_suspended=bool(manifest.get("spec", {}).get("suspend")),
        is_deleting="deletionTimestamp" in metadata,
        is_failing=bool(failed),
        finished="Complete" if "Complete" in conditions else "Failed" if "Failed" in conditions else None,
        ended=_time(status.get("completionTime") or end["lastTransitionTime"]) if end else None,
        failure_reason=failed.get("reason", ""),
        failure_message=failed.get("message", ""),
        resumed_from_step=_number(metadata.get("annotations", {}).get(RESUMED_FROM_ANNOTATION)),
        pod_group=str(metadata.get("annotations", {}).get(POD_GROUP_ANNOTATION, "")),
        nodes=int(manifest.get("spec", {}).get("completions") or 1),
        pods_up=int(status.get("ready", 0)) + int(status.get("succeeded", 0)),
    )


def trainer_pod(manifest: Manifest) -> TrainerPod:
    """Read a trainer pod."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    conditions = {entry["type"]: entry for entry in status.get("conditions", ())}
    index = _number(metadata.get("annotations", {}).get(INDEX_ANNOTATION))
    ended = _terminated(status)
    note = termination_note(ended.get("message", "")) if ended else None
    return TrainerPod(
        name=metadata["name"],
        uid=metadata["uid"],
        attempt=_number(metadata.get("labels", {}).get(ATTEMPT_LABEL)),
        index=index,
        phase=status.get("phase", "Pending"),
        is_deleting="deletionTimestamp" in metadata,
        is_disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        waiting=_waiting(status, conditions),
        exit=_pod_exit(index, ended, note, status) if ended else None,
        note=note,
        owner_uid=next(
            (owner["uid"] for owner in metadata.get("ownerReferences", ()) if owner.get("controller")), None
        ),
    )


def termination_note(text: str) -> TerminationNote:
    """Read a termination message: the trainer's JSON object, or any text (the kubelet falls back to the log's end)."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return TerminationNote(message=text.strip())
    reason, evaluation, output = (content.get(key) for key in ("reason", "evaluation", "output"))
    return TerminationNote(
        reason=str(reason) if reason else None,
        message=str(content.get("message") or ""),
        evaluation=evaluation if isinstance(evaluation, dict) else None,
        output=output if isinstance(output, dict) else None,
    )


def _pod_exit(index: int, ended: Manifest, note: TerminationNote | None, status: Manifest) -> PodExit:
    said = ": ".join(part for part in ((note.reason, note.message) if note else ()) if part)
    message = said or status.get("message", "")
    return PodExit(
        index=index,
        exit_code=max(0, min(255, int(ended.get("exitCode", 0)))),
        reason=(ended.get("reason") or status.get("reason") or "Error")[:128],
        # Of a log, the end tells the cause.
        message=message[-MESSAGE_LIMIT:] or None,
    )


def _terminated(status: Manifest) -> Manifest:
    for container in status.get("containerStatuses", ()):
        if container.get("name") == TRAINER_CONTAINER:
            ended: Manifest = container.get("state", {}).get("terminated") or {}
            return ended
    return {}


def _waiting(status: Manifest, conditions: dict[str, Manifest]) -> str | None:
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return _joined(scheduled)
    for container in status.get("containerStatuses", ()):
        if waiting := container.get("state", {}).get("waiting"):
            return _joined(waiting)
    return None


def _joined(entry: Manifest) -> str:
    return ": ".join(part for part in (entry.get("reason"), entry.get("message")) if part)


def is_child_of(manifest: Manifest, uid: str) -> bool:
    """Whether this SROJob made it: it says so, or somebody took its owner away and its label still tells."""
    metadata = manifest["metadata"]
    owners = metadata.get("ownerReferences", ())
    if any(owner.get("controller") for owner in owners):
        return any(owner.get("uid") == uid for owner in owners)
    return bool(metadata.get("labels", {}).get(JOB_UID_LABEL) == uid)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
