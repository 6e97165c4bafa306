"""The kinds of object that the operator handles, and where the API server serves them."""

from __future__ import annotations

from dataclasses import dataclass

from sro_api.base import Manifest
from sro_api.labels import API_VERSION, JOB_NAME_LABEL, KIND, MANAGED_BY, MANAGED_BY_LABEL, PLURAL

CHILD_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY},{JOB_NAME_LABEL}"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of object."""

    name: str
    """As in `KINDS`: what manifests call it, and for one that several API groups have, `KIND.GROUP`."""
    api_version: str
    plural: str
    selector: str = ""
    """Label selector of those that are ours."""

    @property
    def kind(self) -> str:
        """What manifests call it."""
        return self.name.partition(".")[0]

    def collection(self, namespace: str | None) -> str:
        """The path of all of them in a namespace, or in the cluster."""
        root = "/api" if self.api_version == "v1" else "/apis"
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}/{self.api_version}{within}/{self.plural}"

    def path(self, namespace: str, name: str) -> str:
        """The path of one of them."""
        return f"{self.collection(namespace)}/{name}"


JOB = Kind(name="Job", api_version="batch/v1", plural="jobs", selector=CHILD_SELECTOR)
POD = Kind(name="Pod", api_version="v1", plural="pods", selector=CHILD_SELECTOR)
SUPPORTS = (
    Kind(name="Service", api_version="v1", plural="services", selector=CHILD_SELECTOR),
    Kind(name="ServiceAccount", api_version="v1", plural="serviceaccounts", selector=CHILD_SELECTOR),
)
CHILDREN = (JOB, POD, *SUPPORTS)
SRO_JOB = Kind(name=KIND, api_version=API_VERSION, plural=PLURAL)
EVENT = Kind(name="Event", api_version="v1", plural="events")
LEASE = Kind(name="Lease", api_version="coordination.k8s.io/v1", plural="leases")
KINDS = {kind.name: kind for kind in (*CHILDREN, SRO_JOB, EVENT, LEASE)}

POD_GROUP = "PodGroup"
NATIVE_GROUP = "scheduling.k8s.io"
COSCHEDULING_GROUP = "scheduling.x-k8s.io"
VOLCANO_GROUP = "scheduling.volcano.sh"
GANG_GROUPS = (NATIVE_GROUP, COSCHEDULING_GROUP, VOLCANO_GROUP)
"""API groups that may have PodGroups; which of them do, and in what version, a cluster is asked."""


def group_of(api_version: str) -> str:
    """The API group; empty for the core one."""
    return api_version.rpartition("/")[0]


def pod_group_kind(api_version: str) -> Kind:
    """The PodGroups of an API group's version."""
    name = f"{POD_GROUP}.{group_of(api_version)}"
    return Kind(name=name, api_version=api_version, plural="podgroups", selector=CHILD_SELECTOR)


def kind_of(manifest: Manifest) -> Kind:
    """The kind of an object that the operator handles."""
    if manifest["kind"] == POD_GROUP:
        return pod_group_kind(manifest["apiVersion"])
    return KINDS[manifest["kind"]]
