"""The Kubernetes half of an SROJob's spec: pods, restarts, deadlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from sro_api.base import ApiModel, Manifest, rule
from sro_api.fields import (
    QUALIFIED_NAME,
    DnsLabel,
    DnsSubdomain,
    LabelKey,
    LabelValue,
    QualifiedName,
    Quantity,
)

_FREE_OBJECT: Manifest = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _keys(field: str) -> Callable[[type[ApiModel]], type[ApiModel]]:
    """Keys of a map are qualified names."""
    return rule(
        f"self.{field}.all(key, key.matches('{QUALIFIED_NAME}'))",
        "must have keys such as `name` or `domain.example/name`: letters, digits, '-', '_' and '.'",
        at=f".{field}",
    )


FreeObject = Annotated[Manifest, Field(json_schema_extra=_FREE_OBJECT)]
"""A core/v1 object that is handed on as it is; the API server checks it when the pod is made."""


class SecretReference(ApiModel):
    """A Secret in the job's own namespace, by name."""

    name: DnsSubdomain
    """Name of the Secret."""


@rule(
    "self.requests.all(key, !(key in self.limits) || "
    "quantity(string(self.requests[key])).compareTo(quantity(string(self.limits[key]))) <= 0)",
    "must not ask for more of a resource than limits lets a pod use",
    at=".requests",
)
@_keys("requests")
@_keys("limits")
class ResourcesSpec(ApiModel):
    """Requests and limits of one trainer pod."""

    requests: Annotated[dict[LabelKey, Quantity], Field(max_length=32)] = {}
    """What the scheduler reserves, by resource name."""
    limits: Annotated[dict[LabelKey, Quantity], Field(max_length=32)] = {}
    """What the pod may use at most, by resource name; extended resources as `nvidia.com/gpu` go here."""


@rule("!(has(self.value) && has(self.valueFrom))", "must be absent where value is given", at=".valueFrom",
      reason="FieldValueForbidden")  # fmt: skip
class EnvVar(ApiModel):
    """One environment variable of the trainer container."""

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """Its value, literally."""
    value_from: FreeObject | None = None
    """A core/v1 EnvVarSource, as `secretKeyRef`."""


@rule("has(self.key) || (has(self.operator) && self.operator == 'Exists')",
      "must be Exists where key is absent", at=".operator")  # fmt: skip
@rule("!has(self.value) || !has(self.operator) || self.operator != 'Exists'",
      "must be absent where operator is Exists", at=".value", reason="FieldValueForbidden")  # fmt: skip
@rule("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
      "must be absent unless effect is NoExecute", at=".tolerationSeconds", reason="FieldValueForbidden")  # fmt: skip
class Toleration(ApiModel):
    """A core/v1 Toleration."""

    key: QualifiedName | None = None
    """Taint key; absent, with Exists, means every key."""
    operator: Literal["Exists", "Equal"] | None = None
    """Exists, or Equal (the default)."""
    value: LabelValue | None = None
    """Taint value, for Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Taint effect; absent means every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    """How long a NoExecute taint is borne; absent means for ever."""


_VOLUME_KINDS = ("config_map", "secret", "empty_dir", "persistent_volume_claim", "projected", "ephemeral", "csi")


@rule(
    "[has(self.configMap), has(self.secret), has(self.emptyDir), has(self.persistentVolumeClaim), has(self.projected), "
    "has(self.ephemeral), has(self.csi)].filter(given, given).size() == 1",
    "must have exactly one of configMap, secret, emptyDir, persistentVolumeClaim, projected, ephemeral, csi",
)
class Volume(ApiModel):
    """A core/v1 Volume of a kind that the restricted Pod Security Standard allows."""

    name: DnsLabel
    """Name that `volumeMounts` refer to."""
    config_map: FreeObject | None = None
    """A core/v1 ConfigMapVolumeSource."""
    secret: FreeObject | None = None
    """A core/v1 SecretVolumeSource."""
    empty_dir: FreeObject | None = None
    """A core/v1 EmptyDirVolumeSource."""
    persistent_volume_claim: FreeObject | None = None
    """A core/v1 PersistentVolumeClaimVolumeSource."""
    projected: FreeObject | None = None
    """A core/v1 ProjectedVolumeSource."""
    ephemeral: FreeObject | None = None
    """A core/v1 EphemeralVolumeSource."""
    csi: FreeObject | None = None
    """A core/v1 CSIVolumeSource."""


class VolumeMount(ApiModel):
    """A core/v1 VolumeMount."""

    name: DnsLabel
    """Of one of `volumes`."""
    mount_path: Annotated[str, Field(min_length=2, max_length=1024, pattern=r"^/[^:]*$")]
    """Absolute path in the container."""
    sub_path: Annotated[str, Field(max_length=1024)] | None = None
    """Path inside the volume."""
    read_only: bool = False
    """Mount it without the right to write."""


@rule("!has(self.together) || !has(self.spread) || self.together != self.spread",
      "must be another label than together: pods cannot be in one of its domains and spread over them", at=".spread",
      shows="self.spread")  # fmt: skip
class PlacementSpec(ApiModel):
    """Where pods stand to each other and to other jobs. A domain is the nodes that have one value of a label in common."""

    together: QualifiedName | None = None
    """All pods of an attempt in one domain of this label, as `topology.kubernetes.io/zone`."""
    spread: QualifiedName | None = None
    """The pods evenly over the domains of this label, as `kubernetes.io/hostname`: no two differ by more than one pod."""
    exclusive: QualifiedName | None = None
    """No pod of another SROJob, of whatever namespace, in a domain of this label where one of this job's is."""


@rule(
    "self.volumeMounts.all(mount, self.volumes.exists(volume, volume.name == mount.name))",
    "must each name one of volumes",
    at=".volumeMounts",
)
@rule(
    "self.env.all(variable, !(variable.name in ['RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', "
    "'MASTER_PORT', 'NODE_RANK', 'GROUP_RANK']) && !variable.name.startsWith('SRO_'))",
    "must not set RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, NODE_RANK, GROUP_RANK or SRO_*, "
    "which the operator decides",
    at=".env",
    reason="FieldValueForbidden",
)
@rule(
    "self.volumes.all(volume, !volume.name.startsWith('sro-'))",
    "must not have names that start with sro-, which are the operator's",
    at=".volumes",
    reason="FieldValueForbidden",
)
@rule(
    "self.volumeMounts.all(mount, mount.mountPath != '/etc/sro' && !mount.mountPath.startsWith('/etc/sro/') && "
    "!mount.mountPath.startsWith('/mnt/sro'))",
    "must not be at or below /etc/sro or /mnt/sro, which the operator mounts",
    at=".volumeMounts",
    reason="FieldValueForbidden",
)
@rule(
    "!has(self.minNodes) || self.minNodes <= self.nodes", "must be at most nodes", at=".minNodes", shows="self.minNodes"
)
@_keys("nodeSelector")
@_keys("labels")
@_keys("annotations")
@rule("self.labels.all(key, !key.startsWith('sro.dev/'))", "must not use keys under sro.dev/", at=".labels",
      reason="FieldValueForbidden")  # fmt: skip
@rule("self.annotations.all(key, !key.startsWith('sro.dev/'))", "must not use keys under sro.dev/", at=".annotations",
      reason="FieldValueForbidden")  # fmt: skip
class ComputeSpec(ApiModel):
    """The pods of an attempt."""

    nodes: Annotated[int, Field(ge=1, le=1000)] = 1
    """Trainer pods, one per node of the gang."""
    min_nodes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """With nodes for fewer pods, but for so many, an attempt is made with as many as there are; never fewer than `nodes` if absent.
    The batch and the order of the rows stay the same. A later attempt is made with all `nodes` again."""
    shrink_after_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 300
    """How long pods may be without a node before that, for `minNodes`."""
    processes_per_node: Annotated[int, Field(ge=1, le=64)] = 1
    """Training processes in each pod; with GPUs, one per GPU."""
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")] | None = None
    """Trainer image; the operator's default if absent."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet pulls the image."""
    image_pull_secrets: Annotated[
        tuple[SecretReference, ...],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = ()
    """Secrets with registry credentials."""
    resources: ResourcesSpec = ResourcesSpec()
    shared_memory: Quantity = "1Gi"
    """Size limit of /dev/shm, which processes of one pod exchange data through; counts as memory."""
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = {}
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    """Taints that the pods bear."""
    affinity: FreeObject | None = None
    """A core/v1 Affinity."""
    placement: PlacementSpec | None = None
    """Where pods stand to each other and to other jobs; beside `affinity`."""
    gang_scheduling: Literal["Auto", "Kubernetes", "Coscheduling", "Volcano", "None"] = "Auto"
    """Whether all pods of an attempt start together or none: by PodGroups of Kubernetes (scheduling.k8s.io), of the coscheduling
    plugin (scheduling.x-k8s.io) or of Volcano. Auto takes those of Kubernetes where the cluster has them. With `minNodes`, so many
    suffice. A job of one node needs none."""
    scheduler_name: DnsSubdomain | None = None
    """Scheduler of the pods; if absent, the cluster's own, or the usual name of what gangScheduling asks for."""
    volumes: Annotated[
        tuple[Volume, ...],
        Field(
            max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = ()
    """Volumes beside those of `pvc://` sources, which are mounted by themselves."""
    volume_mounts: Annotated[
        tuple[VolumeMount, ...],
        Field(
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mountPath"]},
        ),
    ] = ()
    """Where those volumes are mounted."""
    env: Annotated[
        tuple[EnvVar, ...],
        Field(
            max_length=128, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = ()
    """Environment of the trainer container."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = {}
    """Added to the pods; keys under sro.dev/ belong to the operator."""
    annotations: Annotated[dict[LabelKey, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = {}
    """Added to the pods."""
    service_account_name: DnsSubdomain | None = None
    """Pods run as this account; if absent, as one made for the job."""
    priority_class_name: DnsSubdomain | None = None
    """Priority class of the pods."""


class RunPolicySpec(ApiModel):
    """How long and how often the job may run."""

    suspend: bool = False
    """True stops the pods after a checkpoint; false goes on from it as a new attempt."""
    max_restarts: Annotated[int, Field(ge=0, le=100)] = 3
    """Attempts that may follow failed ones; disruptions and resumes do not count."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """The job fails when it has been running for longer, over all attempts, time suspended left out."""
    startup_timeout_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """The job fails when an attempt's pods have not all started this long after a queue, if there is one, let them."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """The job is deleted this long after it finished; absent keeps it."""
