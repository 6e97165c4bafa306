"""Pods that start together or not at all: a PodGroup for each attempt, of whichever scheduler is asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sro_api.base import Manifest
from sro_api.v1alpha1 import SROJob
from sro_operator.builders.common import attempt_name, metadata_of
from sro_operator.kinds import COSCHEDULING_GROUP, NATIVE_GROUP, VOLCANO_GROUP, group_of

VOLCANO_QUEUE_ANNOTATION = "scheduling.volcano.sh/queue-name"
"""Volcano reads it on what it queues; here it is taken from the SROJob."""


@dataclass(frozen=True, kw_only=True)
class _Scheduler:
    """How one scheduler is told of a gang."""

    spec: Callable[[SROJob, int], Manifest]
    """Of its PodGroup, by the least number of pods that start together."""
    name: str | None = None
    """Its usual `schedulerName`; the cluster's own scheduler if None."""
    labels: Callable[[str], dict[str, str]] = lambda _: {}
    annotations: Callable[[str], dict[str, str]] = lambda _: {}
    pod_spec: Callable[[str], Manifest] = lambda _: {}
    """How a pod names its group."""


def _volcano(job: SROJob, least: int) -> Manifest:
    queue = (job.metadata.get("annotations") or {}).get(VOLCANO_QUEUE_ANNOTATION)
    given = {"queue": queue, "priorityClassName": job.spec.compute.priority_class_name}
    return {"minMember": least, **{key: value for key, value in given.items() if value}}


_SCHEDULERS = {
    # v1alpha2 to v1beta1 agree in this much: a group needs no Workload, and its pods name it.
    NATIVE_GROUP: _Scheduler(
        spec=lambda _, least: {"schedulingPolicy": {"gang": {"minCount": least}}},
        pod_spec=lambda name: {"schedulingGroup": {"podGroupName": name}},
    ),
    COSCHEDULING_GROUP: _Scheduler(
        spec=lambda _, least: {"minMember": least},
        name="scheduler-plugins-scheduler",
        labels=lambda name: {"scheduling.x-k8s.io/pod-group": name},
    ),
    VOLCANO_GROUP: _Scheduler(
        spec=_volcano, name="volcano", annotations=lambda name: {"scheduling.k8s.io/group-name": name}
    ),
}
_GROUPS = {"Kubernetes": NATIVE_GROUP, "Coscheduling": COSCHEDULING_GROUP, "Volcano": VOLCANO_GROUP}


class NoGangError(Exception):
    """The cluster does not serve what the job asks for; the message names field, value and cure."""


def pod_group_of(job: SROJob, served: Mapping[str, str]) -> str:
    """The apiVersion of the PodGroup that a new attempt is given; empty if it is given none.

    Args:
        job: of the attempt's size.
        served: API group to apiVersion, of the PodGroups that the cluster knows.

    Raises:
        NoGangError: the job insists on PodGroups that the cluster does not know.
    """
    wanted = job.spec.compute.gang_scheduling
    if wanted == "None" or job.spec.compute.nodes == 1:
        return ""
    if wanted == "Auto":
        return served.get(NATIVE_GROUP, "")
    group = _GROUPS[wanted]
    if group not in served:
        raise NoGangError(
            f"spec.compute.gangScheduling: {wanted!r} needs PodGroups of {group}, which this cluster does not serve"
        )
    return served[group]


def build_pod_group(job: SROJob, attempt: int, api_version: str) -> Manifest:
    """The group of an attempt's pods, called as its Job is."""
    compute = job.spec.compute
    # A job that may shrink must have some of its pods placed to tell for how many there are nodes.
    least = min(compute.min_nodes or compute.nodes, compute.nodes)
    return {
        "apiVersion": api_version,
        "kind": "PodGroup",
        "metadata": metadata_of(job, attempt_name(job, attempt), attempt),
        "spec": _SCHEDULERS[group_of(api_version)].spec(job, least),
    }


def joined(template: Manifest, job: SROJob, attempt: int, api_version: str) -> Manifest:
    """A pod template whose pods are of the attempt's group, if there is one.

    Args:
        template: as it is without a group.
        job: of the attempt.
        attempt: its number.
        api_version: of the group; empty if there is none.
    """
    if not api_version:
        return template
    scheduler, name = _SCHEDULERS[group_of(api_version)], attempt_name(job, attempt)
    metadata, spec = template["metadata"], template["spec"]
    usual = {"schedulerName": scheduler.name} if scheduler.name else {}
    return {
        "metadata": {
            **metadata,
            "labels": {**metadata["labels"], **scheduler.labels(name)},
            "annotations": {**metadata["annotations"], **scheduler.annotations(name)},
        },
        "spec": {**usual, **spec, **scheduler.pod_spec(name)},
    }
