"""The identity by which a job's pods may report progress: a Role for one object, one subresource and one verb."""

from __future__ import annotations

from sro_api.base import Manifest
from sro_api.labels import GROUP, PLURAL
from sro_api.v1alpha1 import SROJob
from sro_operator.builders.common import metadata_of, trainer_name


def service_account_name(job: SROJob) -> str:
    """The account that the pods run as: the spec's, or one made for the job."""
    return job.spec.compute.service_account_name or trainer_name(job)


def build_identity(job: SROJob) -> tuple[Manifest, ...]:
    """Account, Role and RoleBinding; no account where the spec names one.

    A Role cannot tell the fields of a status apart: the chart's ValidatingAdmissionPolicy keeps everybody but the operator
    from writing any other field than `progress`.
    """
    account = () if job.spec.compute.service_account_name else (_service_account(job),)
    return (*account, _role(job), _role_binding(job))


def _service_account(job: SROJob) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata_of(job, trainer_name(job)),
        "automountServiceAccountToken": False,
    }


def _role(job: SROJob) -> Manifest:
    rule = {"apiGroups": [GROUP], "resources": [f"{PLURAL}/status"], "resourceNames": [job.name], "verbs": ["patch"]}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata_of(job, trainer_name(job)),
        "rules": [rule],
    }


def _role_binding(job: SROJob) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata_of(job, trainer_name(job)),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": trainer_name(job)},
        "subjects": [{"kind": "ServiceAccount", "name": service_account_name(job), "namespace": job.namespace}],
    }
