"""The headless Service by which ranks find rank 0."""

from __future__ import annotations

from sro_api.base import Manifest
from sro_api.labels import JOB_NAME_LABEL, RENDEZVOUS_PORT
from sro_api.v1alpha1 import SROJob
from sro_operator.builders.common import attempt_name, metadata_of
from sro_operator.record import RECORD_ANNOTATION


def build_service(job: SROJob, record: str = "") -> Manifest:
    """Gives every pod a DNS name before it is ready: a gang becomes ready only once its ranks have met."""
    kept = {"annotations": {RECORD_ANNOTATION: record}} if record else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata_of(job, job.name), **kept},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {JOB_NAME_LABEL: job.name},
            "ports": [
                {"name": "rendezvous", "port": RENDEZVOUS_PORT, "targetPort": RENDEZVOUS_PORT, "protocol": "TCP"}
            ],
        },
    }


def master_address(job: SROJob, attempt: int) -> str:
    """DNS name of the attempt's rank 0, complete but for the cluster's own domain."""
    return f"{attempt_name(job, attempt)}-0.{job.name}.{job.namespace}.svc"
