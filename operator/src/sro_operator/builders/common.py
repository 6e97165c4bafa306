"""Names and metadata that every child shares."""

from __future__ import annotations

from sro_api.base import Manifest
from sro_api.labels import (
    API_VERSION,
    ATTEMPT_LABEL,
    COMPONENT_LABEL,
    JOB_NAME_LABEL,
    JOB_UID_LABEL,
    KIND,
    MANAGED_BY,
    MANAGED_BY_LABEL,
)
from sro_api.v1alpha1 import SROJob


def attempt_name(job: SROJob, attempt: int) -> str:
    """Name of an attempt's Job; deterministic, so that making it twice makes it once."""
    return f"{job.name}-a{attempt}"


def trainer_name(job: SROJob) -> str:
    """Name of the account that the job's pods run as."""
    return f"{job.name}-trainer"


def labels_of(job: SROJob, attempt: int | None = None) -> dict[str, str]:
    """Labels of a child; of an attempt's child, with its number."""
    own = {JOB_NAME_LABEL: job.name, JOB_UID_LABEL: str(job.metadata["uid"])}
    labels = {**own, MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: "trainer"}
    return labels if attempt is None else {**labels, ATTEMPT_LABEL: str(attempt)}


def metadata_of(job: SROJob, name: str, attempt: int | None = None) -> Manifest:
    """Metadata of a child. It goes when the SROJob goes: the owner reference is the only deletion there is."""
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": labels_of(job, attempt),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": job.name,
                "uid": str(job.metadata["uid"]),
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
