"""PodGroups of schedulers that are not here: as much of their types as the operator writes."""

from typing import Any


def pod_group_crd(api_version: str) -> dict[str, Any]:
    """The custom resource of a scheduler's PodGroups.

    Args:
        api_version: `scheduling.x-k8s.io/v1alpha1` or `scheduling.volcano.sh/v1beta1`.
    """
    group, _, version = api_version.partition("/")
    spec = {"type": "object", "properties": {"minMember": {"type": "integer"}, "queue": {"type": "string"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    # Groups under k8s.io belong to Kubernetes: the API server asks where it was agreed to.
    approved = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/scheduler-plugins/pull/50"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"podgroups.{group}", "annotations": approved if group.endswith(".k8s.io") else {}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "PodGroup", "plural": "podgroups", "singular": "podgroup"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }
