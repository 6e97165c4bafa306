"""The Indexed Job of an attempt: one pod per node, no replacement of a single pod."""

from __future__ import annotations

from sro_api.base import Manifest
from sro_api.exit_codes import FINAL_EXIT_CODES
from sro_api.v1alpha1 import SROJob
from sro_operator.builders.common import attempt_name, metadata_of
from sro_operator.builders.pod import build_pod_template
from sro_operator.builders.pod_group import joined
from sro_operator.observed import POD_GROUP_ANNOTATION, RESUMED_FROM_ANNOTATION, TRAINER_CONTAINER
from sro_operator.settings import OperatorSettings

QUEUE_LABELS = ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class")
QUEUE_ANNOTATIONS = ("kueue.x-k8s.io/job-min-parallelism",)
"""A queue reads them on the Job; they are copied from the SROJob."""


def build_job(
    job: SROJob, attempt: int, settings: OperatorSettings, *, resumed_from_step: int = 0, pod_group: str = ""
) -> Manifest:
    """The gang. A static rendezvous cannot take one rank back, so one failed pod ends the attempt (`backoffLimit` 0)."""
    kept = build_kept_job(job, attempt, resumed_from_step=resumed_from_step, pod_group=pod_group)
    return {
        **kept,
        "spec": {
            **kept["spec"],
            "completionMode": "Indexed",
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": joined(build_pod_template(job, attempt, settings), job, attempt, pod_group),
        },
    }


def build_kept_job(job: SROJob, attempt: int, *, resumed_from_step: int = 0, pod_group: str = "") -> Manifest:
    """What of the gang's Job can be put right once it is there: the rest, its pods above all, the API server lets nobody change."""
    nodes = job.spec.compute.nodes
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(job, attempt, resumed_from_step, pod_group),
        "spec": {"completions": nodes, "parallelism": nodes, "backoffLimit": 0},
    }


def _metadata(job: SROJob, attempt: int, resumed_from_step: int, pod_group: str) -> Manifest:
    metadata = metadata_of(job, attempt_name(job, attempt), attempt)
    metadata["labels"] |= _copied(job, "labels", QUEUE_LABELS)
    copied = _copied(job, "annotations", QUEUE_ANNOTATIONS)
    group = {POD_GROUP_ANNOTATION: pod_group} if pod_group else {}
    return {**metadata, "annotations": {**copied, RESUMED_FROM_ANNOTATION: str(resumed_from_step), **group}}


def _copied(job: SROJob, field: str, keys: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = job.metadata.get(field) or {}
    return {key: given[key] for key in keys if key in given}


def _failure_rules() -> list[Manifest]:
    """They change nothing in what happens, for one failure ends the Job anyway, but make its condition name the cause."""
    disrupted = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    codes = sorted(int(code) for code in FINAL_EXIT_CODES)
    final = {
        "action": "FailJob",
        "onExitCodes": {"containerName": TRAINER_CONTAINER, "operator": "In", "values": codes},
    }
    return [disrupted, final]
