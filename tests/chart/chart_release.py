"""Releases of the chart in a real cluster, and requests to its API server under a service account's own token."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from chart_rendering import CHART, Manifest, Values
from sro_cluster.client import Kubectl
from sro_cluster.commands import run
from sro_cluster.controlplane import ControlPlane

REPOSITORY = CHART.parents[1]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True, kw_only=True)
class Releases:
    """`helm` bound to a cluster; each call raises ClusterError with helm's own words if it fails."""

    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Output of `helm ARGUMENTS`."""
        return run([self.program, f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    def install(
        self, name: str, namespace: str, values: Values | None = None, *, flags: Sequence[str] = (), chart: Path = CHART
    ) -> str:
        """`helm install`, into a namespace that is made if it is absent; waits for no pod."""
        return self._apply("install", name, namespace, values, flags=("--create-namespace", *flags), chart=chart)

    def upgrade(
        self, name: str, namespace: str, values: Values | None = None, *, flags: Sequence[str] = (), chart: Path = CHART
    ) -> str:
        """`helm upgrade`."""
        return self._apply("upgrade", name, namespace, values, flags=flags, chart=chart)

    def uninstall(self, name: str, namespace: str) -> str:
        """`helm uninstall`, until the release's objects are gone."""
        return self("uninstall", name, "-n", namespace, "--wait", "--timeout=60s")

    def names(self) -> list[str]:
        """Every release in the cluster as namespace/name."""
        return [f"{each['namespace']}/{each['name']}" for each in json.loads(self("list", "-A", "-o", "json"))]

    def _apply(
        self, verb: str, name: str, namespace: str, values: Values | None, *, flags: Sequence[str], chart: Path
    ) -> str:
        return self(verb, name, chart, "-n", namespace, "-f", "-", *flags, stdin=yaml.safe_dump(values or {}))


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody with a token, who asks the API server directly: `kubectl` reads before it writes, and needs more rights."""

    server: str
    certificate_authority: Path
    token: str

    def patch(
        self, path: str, body: Manifest, *, kind: str = APPLY, manager: str = "sro-reporter", dry_run: bool = False
    ) -> tuple[int, str]:
        """HTTP status and message of a PATCH; the message is empty if it was accepted."""
        query = (
            f"?fieldManager={manager}" + ("&force=true" if kind == APPLY else "") + ("&dryRun=All" if dry_run else "")
        )
        request = urllib.request.Request(
            f"{self.server}{path}{query}",
            data=json.dumps(body).encode(),
            method="PATCH",
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind},
        )
        context = ssl.create_default_context(cafile=str(self.certificate_authority))
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with direct.open(request, timeout=30) as answer:
                return int(answer.status), ""
        except urllib.error.HTTPError as refusal:
            return refusal.code, str(json.loads(refusal.read())["message"])


def caller_of(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, account: str, *, pod: str | None = None
) -> Caller:
    """A service account with a token of its own, got by TokenRequest; bound to a pod, it is the one that its kubelet mounts."""
    bound = () if pod is None else ("--bound-object-kind=Pod", f"--bound-object-name={pod}")
    token = kubectl("create", "token", account, "-n", namespace, *bound).strip()
    authority = control_plane.authority.pair.certificate
    return Caller(server=control_plane.server, certificate_authority=authority, token=token)


def status_path(namespace: str, name: str) -> str:
    """Where the API server keeps an SROJob's status."""
    return f"/apis/sro.dev/v1alpha1/namespaces/{namespace}/srojobs/{name}/status"


def sro_job(namespace: str, name: str = "tiny") -> Manifest:
    """The small valid SROJob of the contract's own tests."""
    base: Manifest = yaml.safe_load(
        (REPOSITORY / "tests" / "api" / "manifests" / "base.yaml").read_text(encoding="utf-8")
    )
    return {**base, "metadata": {"name": name, "namespace": namespace}}
