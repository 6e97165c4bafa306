"""The pod template of an attempt; passes the restricted Pod Security Standard."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sro_api.base import Manifest
from sro_api.labels import CLAIM_MOUNT, CONFIG_MOUNT, RENDEZVOUS_PORT, WORKSPACE
from sro_api.run_config import FILE_NAME
from sro_api.sources import PVC, claims_of
from sro_api.v1alpha1 import SROJob, SROJobSpec
from sro_operator.builders.common import labels_of
from sro_operator.builders.identity import service_account_name
from sro_operator.builders.placement import build_placement
from sro_operator.builders.run_config import RUN_CONFIG_ANNOTATION, run_config_text, run_config_volume
from sro_operator.builders.service import master_address
from sro_operator.observed import TRAINER_CONTAINER
from sro_operator.settings import OperatorSettings

TRAINER_USER = 65532
"""User and group of trainer processes; claims are handed to this group."""


@dataclass(frozen=True)
class _Mounted:
    """A volume and the folder that it appears under."""

    path: str
    volume: Manifest
    read_only: bool = False


def build_pod_template(job: SROJob, attempt: int, settings: OperatorSettings) -> Manifest:
    """One trainer pod: the same for every rank, which is told apart by its completion index."""
    compute = job.spec.compute
    own = {key: value for key, value in compute.labels.items() if not _is_reserved(key)}
    return {
        "metadata": {
            "labels": {**own, **labels_of(job, attempt)},
            "annotations": {**compute.annotations, RUN_CONFIG_ANNOTATION: run_config_text(job, attempt)},
        },
        "spec": _pod_spec(job, attempt, settings),
    }


def claims(spec: SROJobSpec) -> tuple[str, ...]:
    """The volume claims that the spec's URIs name, wherever they stand in it."""
    wire = spec.to_wire()
    parts = [value for key, value in wire.items() if key != "compute"]
    return claims_of([text for text in _strings(parts) if re.fullmatch(PVC, text)])


def _pod_spec(job: SROJob, attempt: int, settings: OperatorSettings) -> Manifest:
    compute = job.spec.compute
    mounted = _mounted(job)
    spec: Manifest = {
        "restartPolicy": "Never",
        "subdomain": job.name,
        "serviceAccountName": service_account_name(job),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.termination_grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": TRAINER_USER,
            "runAsGroup": TRAINER_USER,
            "fsGroup": TRAINER_USER,
            # Without it every start walks the whole claim, which takes minutes on one that holds checkpoints.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, attempt, settings, mounted)],
        "volumes": [entry.volume for entry in mounted] + [volume.to_wire() for volume in compute.volumes],
    }
    optional: Manifest = {
        "imagePullSecrets": [secret.to_wire() for secret in compute.image_pull_secrets],
        "nodeSelector": dict(compute.node_selector),
        "tolerations": [toleration.to_wire() for toleration in compute.tolerations],
        "priorityClassName": compute.priority_class_name,
        "schedulerName": compute.scheduler_name,
        **build_placement(job, attempt),
    }
    return {**spec, **{key: value for key, value in optional.items() if value}}


def _container(job: SROJob, attempt: int, settings: OperatorSettings, mounted: tuple[_Mounted, ...]) -> Manifest:
    compute = job.spec.compute
    mounts = [
        {"name": entry.volume["name"], "mountPath": entry.path, **({"readOnly": True} if entry.read_only else {})}
        for entry in mounted
    ]
    container: Manifest = {
        "name": TRAINER_CONTAINER,
        "image": compute.image or settings.trainer_image,
        "imagePullPolicy": compute.image_pull_policy,
        "command": ["python3", "-m", "sro_trainer", "--config", f"{CONFIG_MOUNT}/{FILE_NAME}"],
        "env": _environment(job, attempt),
        "ports": [{"name": "rendezvous", "containerPort": RENDEZVOUS_PORT, "protocol": "TCP"}],
        "resources": _resources(job.spec, settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts + [mount.to_wire() for mount in compute.volume_mounts],
    }
    if job.spec.credentials:
        container["envFrom"] = [{"secretRef": secret.to_wire()} for secret in job.spec.credentials]
    return container


def _environment(job: SROJob, attempt: int) -> list[Manifest]:
    decided = {
        "SRO_MASTER_ADDR": master_address(job, attempt),
        "SRO_MASTER_PORT": str(RENDEZVOUS_PORT),
    }
    # The root file system is read-only: what libraries keep under the home folder goes to the scratch volume.
    default = {"HOME": WORKSPACE}
    chosen = {variable.name for variable in job.spec.compute.env}
    kept = {name: value for name, value in default.items() if name not in chosen}
    return [
        *({"name": name, "value": value} for name, value in {**kept, **decided}.items()),
        *(variable.to_wire() for variable in job.spec.compute.env),
    ]


def _resources(spec: SROJobSpec, settings: OperatorSettings) -> Manifest:
    stated = {key: value for key, value in spec.compute.resources.to_wire().items() if value}
    if stated:
        return stated
    processes = spec.compute.processes_per_node
    memory = f"{settings.default_memory_mib * processes}Mi"
    return {"requests": {"cpu": f"{settings.default_cpu_millis * processes}m", "memory": memory}}


def _mounted(job: SROJob) -> tuple[_Mounted, ...]:
    """Our own volumes; one that the spec mounts its own volume over is left out."""
    shared = {"medium": "Memory", "sizeLimit": job.spec.compute.shared_memory}
    ours = [
        _Mounted(CONFIG_MOUNT, run_config_volume("sro-config"), read_only=True),
        _Mounted("/tmp", {"name": "sro-tmp", "emptyDir": {}}),
        _Mounted(WORKSPACE, {"name": "sro-workspace", "emptyDir": {}}),
        _Mounted("/dev/shm", {"name": "sro-shm", "emptyDir": shared}),
        *(
            _Mounted(
                f"{CLAIM_MOUNT}/{claim}", {"name": f"sro-claim-{index}", "persistentVolumeClaim": {"claimName": claim}}
            )
            for index, claim in enumerate(claims(job.spec))
        ),
    ]
    taken = {mount.mount_path.rstrip("/") for mount in job.spec.compute.volume_mounts}
    return tuple(entry for entry in ours if entry.path not in taken)


def _is_reserved(key: str) -> bool:
    domain, _, _ = key.rpartition("/")
    return domain == "sro.dev" or domain.endswith(".sro.dev")


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _strings(part)]
