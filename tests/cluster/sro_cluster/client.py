"""kubectl against one cluster, for tests and for the tool itself."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sro_cluster.commands import run
from sro_cluster.errors import ClusterError

Manifest = dict[str, Any]

_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Kubectl:
    """``kubectl`` bound to a kubeconfig; each call raises ``ClusterError`` with kubectl's own words if it fails."""

    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs ``kubectl ARGUMENTS`` and returns its output."""
        return run([self.program, f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    def get(self, *arguments: str) -> Manifest:
        """``kubectl get ARGUMENTS -o json``, parsed."""
        parsed: Manifest = json.loads(self("get", *arguments, "-o", "json"))
        return parsed

    def apply(self, manifests: Sequence[Manifest], *, field_manager: str = "sro-tests") -> None:
        """Server-side apply, in the order given."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self("apply", "--server-side", f"--field-manager={field_manager}", "-f", "-", stdin=document)

    def wait_for_crd(self, name: str = "srojobs.sro.dev") -> None:
        """Waits until objects of a custom resource can be made.

        Not by ``--for=condition``, which is an error for as long as the resource has no conditions at all.
        """
        established = '--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
        self("wait", established, f"customresourcedefinition/{name}", "--timeout=30s")

    def wait_until(self, wanted: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Polls until ``wanted`` holds; for what ``kubectl wait`` cannot say.

        Raises:
            ClusterError: not within ``seconds``; names ``what``.
        """
        deadline = time.monotonic() + seconds
        while not wanted():
            if time.monotonic() > deadline:
                raise ClusterError(f"not within {seconds:.0f} s: {what}")
            time.sleep(_POLL_SECONDS)


def kubectl_of(binaries: Path, kubeconfig: Path) -> Kubectl:
    """The ``kubectl`` of the cache for one cluster."""
    return Kubectl(program=binaries / "kubectl", kubeconfig=kubeconfig)
