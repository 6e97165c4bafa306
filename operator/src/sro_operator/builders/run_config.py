"""The run configuration of an attempt: an annotation of its pods, which read it as a file."""

from __future__ import annotations

from sro_api.base import Manifest
from sro_api.labels import CLAIM_MOUNT, IMAGE_DATA, WORKSPACE
from sro_api.run_config import FILE_NAME, RunConfig
from sro_api.v1alpha1 import SROJob

RUN_CONFIG_ANNOTATION = "sro.dev/run-config"
"""On every pod: the text of `run.json`. With the pod template it cannot change while the attempt lives."""


def run_config_text(job: SROJob, attempt: int) -> str:
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
    return run.dump()


def run_config_volume(name: str) -> Manifest:
    """The volume that shows the annotation as a file."""
    field = {"fieldPath": f"metadata.annotations['{RUN_CONFIG_ANNOTATION}']"}
    item = {"path": FILE_NAME, "fieldRef": field}
    return {"name": name, "downwardAPI": {"defaultMode": 0o444, "items": [item]}}
