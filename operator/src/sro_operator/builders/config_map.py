"""The ConfigMap of an attempt: its run configuration."""

from __future__ import annotations

from sro_api.base import Manifest
from sro_api.labels import CLAIM_MOUNT, IMAGE_DATA, WORKSPACE
from sro_api.run_config import FILE_NAME, RunConfig
from sro_api.v1alpha1 import SROJob
from sro_operator.builders.common import attempt_name, metadata_of


def build_config_map(job: SROJob, attempt: int) -> Manifest:
    """What the trainer processes of this attempt read."""
    run = RunConfig(
        name=job.name,
        namespace=job.namespace,
        uid=str(job.metadata["uid"]),
        attempt=attempt,
        spec=job.spec,
        inputs=IMAGE_DATA,
        outputs=WORKSPACE,
        claims=CLAIM_MOUNT,
        report_to_cluster=True,
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata_of(job, attempt_name(job, attempt), attempt),
        "data": {FILE_NAME: run.dump()},
    }
