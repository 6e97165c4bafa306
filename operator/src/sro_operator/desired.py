"""What should exist for an attempt. Pure: no cluster, no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sro_api.base import Manifest
from sro_api.v1alpha1 import SROJob
from sro_operator.builders.identity import build_identity
from sro_operator.builders.job import build_job, build_kept_job
from sro_operator.builders.pod_group import build_pod_group
from sro_operator.builders.service import build_service
from sro_operator.settings import OperatorSettings


@dataclass(frozen=True, kw_only=True)
class Children:
    """The objects of one attempt."""

    supports: tuple[Manifest, ...]
    """Service and account, which all attempts share: they may be applied again at any time."""
    pod_group: Manifest | None
    """Of this attempt alone."""
    job: Manifest
    """The gang, made last and made once: its template cannot change, and a queue may have written to it since."""

    @property
    def waves(self) -> tuple[tuple[Manifest, ...], ...]:
        """All of them, in groups: what is in one needs what is in those before it."""
        groups = (self.pod_group,) if self.pod_group is not None else ()
        return ((*self.supports, *groups), (self.job,))


def desired_supports(job: SROJob, record: str = "") -> tuple[Manifest, ...]:
    """What all attempts of a job share: the Service, with the record of ended attempts on it, and the account of its pods."""
    return (build_service(job, record), *build_identity(job))


def desired_children(
    job: SROJob, settings: OperatorSettings, attempt: int, *, resumed_from_step: int = 0, record: str = "",
    nodes: int | None = None, pod_group: str = "",
) -> Children:  # fmt: skip
    """The children of one attempt.

    Args:
        job: as the API server serves it, with its uid.
        settings: of the operator.
        attempt: its number, from 1.
        resumed_from_step: the last checkpoint that the attempt can go on from; 0 if none.
        record: of the attempts before it, as `record_text` writes it.
        nodes: pods that it is made of; as many as the job asks for if None.
        pod_group: apiVersion of its PodGroup; empty if it has none.
    """
    job = of_size(job, nodes) if nodes is not None else job
    kept = kept_children(
        job,
        attempt,
        resumed_from_step=resumed_from_step,
        record=record,
        nodes=job.spec.compute.nodes,
        pod_group=pod_group,
    )
    made = build_job(job, attempt, settings, resumed_from_step=resumed_from_step, pod_group=pod_group)
    return replace(kept, job=made)


def kept_children(
    job: SROJob, attempt: int, *, resumed_from_step: int, record: str, nodes: int, pod_group: str
) -> Children:  # fmt: skip
    """What of an attempt's children can still be put right: all but the pods that its Job makes.

    Looked at in every look at a running job, where a pod template would be the most of the work. Arguments as for
    `desired_children`.
    """
    job = of_size(job, nodes)
    return Children(
        supports=desired_supports(job, record),
        pod_group=build_pod_group(job, attempt, pod_group) if pod_group else None,
        job=build_kept_job(job, attempt, resumed_from_step=resumed_from_step, pod_group=pod_group),
    )


def of_size(job: SROJob, nodes: int) -> SROJob:
    """The job as if it asked for so many pods: their configuration tells them how many they are."""
    compute = job.spec.compute.model_copy(update={"nodes": nodes})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"compute": compute})})
