"""A control plane with the chart's objects on it, and kubeconfigs of the operator's account that lead through a proxy."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

from operator_stage import ACCOUNT, SYSTEM, rendered
from sro_cluster.client import kubectl_of
from sro_cluster.controlplane import ControlPlane


class FaultSite:
    """What all fault runs share."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        """Install the chart without an operator pod.

        Args:
            plane: a running control plane.
            folder: for kubeconfigs and logs.
        """
        self.plane, self.folder = plane, folder
        kubectl = kubectl_of(plane.binaries, plane.kubeconfig)
        kubectl("create", "namespace", SYSTEM)
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=rendered(plane))
        kubectl.wait_for_crd()
        self._token = kubectl("create", "token", ACCOUNT, "-n", SYSTEM, "--duration=5h").strip()

    def trust(self) -> ssl.SSLContext:
        """TLS that trusts the API server and shows no identity of its own."""
        return ssl.create_default_context(cafile=str(self.plane.authority.pair.certificate))

    def kubeconfig(self, url: str, name: str) -> Path:
        """A kubeconfig of the operator's account for a server at this URL."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": self._token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self.folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))
        return path
