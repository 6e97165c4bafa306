"""The account that a job's pods run as. It holds no right of its own: what a pod may report is bound to the pod, by the chart."""

from __future__ import annotations

from sro_api.base import Manifest
from sro_api.v1alpha1 import SROJob
from sro_operator.builders.common import metadata_of, trainer_name


def service_account_name(job: SROJob) -> str:
    """The account that the pods run as: the spec's, or one made for the job."""
    return job.spec.compute.service_account_name or trainer_name(job)


def build_identity(job: SROJob) -> tuple[Manifest, ...]:
    """The account; none where the spec names one.

    Rights that somebody gave to the namespace's default account are thereby not the job's. Every service account may patch the
    status of an SROJob, by one binding of the chart, and the chart's ValidatingAdmissionPolicy narrows that down: to
    `progress`, and to the pods of that very job, which the API server knows by their tokens.
    """
    return () if job.spec.compute.service_account_name else (_service_account(job),)


def _service_account(job: SROJob) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata_of(job, trainer_name(job)),
        "automountServiceAccountToken": False,
    }
