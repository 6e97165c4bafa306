"""SROJobs in the namespace `default` of a control plane, as its admission takes or refuses them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config

from sro_cluster.client import Kubectl
from sro_cluster.controlplane import ControlPlane

CRD = Path(__file__).resolve().parents[2] / "crds" / "srojobs.sro.dev.yaml"
Manifest = dict[str, Any]
_PLACE = ("sro.dev", "v1alpha1", "default", "srojobs")


@dataclass(frozen=True, kw_only=True)
class SroJobs:
    """The API server's SROJobs, under strict field validation."""

    api: client.CustomObjectsApi

    def create(self, manifest: Manifest, *, dry_run: bool = True) -> tuple[str, Manifest]:
        """Create one; the refusal, or an empty text and the object with its defaults."""
        options: Manifest = {"dry_run": "All"} if dry_run else {}
        return _judged(
            lambda: self.api.create_namespaced_custom_object(*_PLACE, manifest, field_validation="Strict", **options)
        )

    def replace(self, manifest: Manifest) -> str:
        """Replace one; the refusal, if it is refused."""
        name = manifest["metadata"]["name"]
        refusal, _ = _judged(
            lambda: self.api.replace_namespaced_custom_object(*_PLACE, name, manifest, field_validation="Strict")
        )
        return refusal

    def read(self, name: str) -> Manifest:
        """One as it is stored."""
        found: Manifest = self.api.get_namespaced_custom_object(*_PLACE, name)
        return found

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.delete_namespaced_custom_object(*_PLACE, name)


@contextmanager
def sro_jobs(control_plane: ControlPlane, kubectl: Kubectl) -> Iterator[SroJobs]:
    """The definition applied, and a client for a while."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    kubectl.wait_for_crd()
    with config.new_client_from_config(str(control_plane.kubeconfig)) as api:
        yield SroJobs(api=client.CustomObjectsApi(api))


def _judged(request: Callable[[], Manifest]) -> tuple[str, Manifest]:
    try:
        return "", request()
    except client.ApiException as error:
        if error.status not in (400, 422):
            raise
        return str(json.loads(error.body)["message"]), {}
