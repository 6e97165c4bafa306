"""A stage for the operator's tests: the real control plane, the operator as a process of its own under the chart's account,
and a kubelet played by hand, which says of a pod what a real one would."""

from __future__ import annotations

import base64
import itertools
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.controlplane import ControlPlane, free_ports

Manifest = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "sro-system"
ACCOUNT = "sro-operator"
WAIT_SECONDS = 120.0
_numbers = itertools.count(1)
QUICK = {"SRO_RESTART_BASE_SECONDS": "1", "SRO_RESYNC_SECONDS": "2"}


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A control plane of the operator's tests alone: what the chart installs is cluster-wide."""
    with ControlPlane() as started:
        yield started


@pytest.fixture(scope="session")
def admin(plane: ControlPlane) -> Kubectl:
    """Its administrator."""
    return kubectl_of(plane.binaries, plane.kubeconfig)


@pytest.fixture(scope="session")
def operator(plane: ControlPlane, admin: Kubectl) -> Iterator[OperatorProcess]:
    """The operator on it."""
    with installed_operator(plane, admin) as process:
        yield process


@contextmanager
def installed_operator(control_plane: ControlPlane, kubectl: Kubectl) -> Iterator[OperatorProcess]:
    """The operator under the chart's account, which must end its life without having logged a fault of its own."""
    kubeconfig = install(control_plane, kubectl)
    with OperatorProcess(kubeconfig=kubeconfig, log=control_plane.directory / "operator.log") as process:
        yield process
        # kopf calls a request that it will try again an error: those are not meant.
        own = [line for line in process.lines() if line["logger"].startswith(("sro_operator", "kopf.objects"))]
        faults = [line for line in own if line["level"] == "ERROR"]
        assert faults == [], faults


@pytest.fixture
def stage(admin: Kubectl, operator: OperatorProcess) -> Stage:
    """A fresh namespace that enforces the restricted Pod Security Standard."""
    namespace = f"stage-{next(_numbers)}"
    admin("create", "namespace", namespace)
    admin("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return Stage(kubectl=admin, namespace=namespace)


def install(control_plane: ControlPlane, kubectl: Kubectl) -> Path:
    """Apply the chart with no replica, and return a kubeconfig of its service account."""
    kubectl("create", "namespace", SYSTEM)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=rendered(control_plane))
    kubectl.wait_for_crd()
    return kubeconfig_of(control_plane, kubectl, SYSTEM, ACCOUNT)


def rendered(control_plane: ControlPlane) -> str:
    """The chart's objects, without an operator pod."""
    chart = [str(control_plane.binaries / "helm"), "template", "sro", str(ROOT / "charts" / "sro-operator")]
    values = ["--namespace", SYSTEM, "--set", f"replicas=0,fullnameOverride={ACCOUNT}"]
    return subprocess.run([*chart, *values], check=True, capture_output=True, text=True).stdout


def kubeconfig_of(control_plane: ControlPlane, kubectl: Kubectl, namespace: str, account: str) -> Path:
    """A kubeconfig with a fresh token of a service account."""
    token = kubectl("create", "token", account, "-n", namespace, "--duration=3h").strip()
    authority = base64.b64encode(control_plane.authority.pair.certificate.read_bytes()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": control_plane.server, "certificate-authority-data": authority}}
        ],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = control_plane.directory / f"{namespace}-{account}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
    return path


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody with a token, who speaks HTTP to the API server."""

    plane: ControlPlane
    token: str

    def __call__(
        self, method: str, path: str, body: Manifest | None = None, kind: str = "merge-patch+json"
    ) -> tuple[int, str]:
        """Make one request; its HTTP status, and the API server's message if it refused."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": f"application/{kind}"}
        request = urllib.request.Request(f"{self.plane.server}{path}", data=data, headers=headers, method=method)
        trust = ssl.create_default_context(cafile=str(self.plane.authority.pair.certificate))
        try:
            with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
                return int(answer.status), ""
        except urllib.error.HTTPError as error:
            return error.code, str(json.loads(error.read())["message"])


@dataclass(kw_only=True)
class OperatorProcess:
    """`python -m sro_operator`, with a context manager's start and end."""

    kubeconfig: Path
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OperatorProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        self.port = free_ports(1)[0]
        environment = {**os.environ, **QUICK, **self.settings, "KUBECONFIG": str(self.kubeconfig)}
        environment |= {"SRO_HTTP_HOST": "127.0.0.1", "SRO_HTTP_PORT": str(self.port)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "sro_operator"], env=environment, stderr=log)
        try:
            wait_until(lambda: self.page("/readyz")[0] == 200, "the operator is ready", self.log.read_text)
        except AssertionError:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> int | None:
        """End it by SIGTERM; its exit code."""
        if self.process is None:
            return None
        self.process.terminate()
        code = self.process.wait(timeout=30)
        self.process = None
        return code

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def lines(self) -> list[Manifest]:
        """Its log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One namespace, which enforces the restricted Pod Security Standard, and what a test does in it."""

    kubectl: Kubectl
    namespace: str

    def submit(self, name: str = "demo", **changes: object) -> Manifest:
        """Create an SROJob; returns its manifest.

        Args:
            name: of the job.
            changes: top-level keys of the spec to add or replace.
        """
        manifest = sro_job(name, self.namespace, **changes)
        self.kubectl.apply([manifest])
        return manifest

    def job(self, name: str = "demo") -> Manifest:
        """The SROJob as it is now."""
        return self.kubectl.get("srojob", name, "-n", self.namespace)

    def status(self, name: str = "demo") -> Manifest:
        """Its status."""
        status: Manifest = self.job(name).get("status", {})
        return status

    def wait_phase(self, phase: str, name: str = "demo", attempt: int | None = None) -> Manifest:
        """Wait for a phase, of a given attempt if one is named; returns the status."""

        def reached() -> bool:
            status = self.status(name)
            return status.get("phase") == phase and attempt in (None, status.get("attempt"))

        wait_until(reached, f"{name} is {phase}", lambda: json.dumps(self.status(name), indent=1))
        return self.status(name)

    def pods(self, attempt: int, name: str = "demo", count: int = 2) -> list[str]:
        """Wait for an attempt's pods; their names, by index."""
        selector = f"sro.dev/job-name={name},sro.dev/attempt={attempt}"

        def found() -> list[Manifest]:
            return list(self.kubectl.get("pods", "-n", self.namespace, "-l", selector)["items"])

        wait_until(lambda: len(found()) == count, f"{count} pods of attempt {attempt}")
        by_index = sorted(
            found(), key=lambda pod: int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])
        )
        return [pod["metadata"]["name"] for pod in by_index]

    def run_pods(self, *pods: str) -> None:
        """What the kubelet says when the trainer has started."""
        for pod in pods:
            self.play(pod, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}})

    def end_pod(self, pod: str, code: int, message: str = "", *, disrupted: bool = False) -> None:
        """What the kubelet says when the trainer has ended."""
        ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
        self.play(pod, "Failed" if code else "Succeeded", {"terminated": ended}, disrupted=disrupted)

    def play(self, pod: str, phase: str, state: Manifest, *, disrupted: bool = False) -> None:
        """Write a pod's status as a kubelet would."""
        container = {"name": "trainer", "image": "i", "imageID": "i", "restartCount": 0, "ready": phase == "Running"}
        status: Manifest = {"phase": phase, "containerStatuses": [{**container, "state": state}]}
        if disrupted:
            entry = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
            status["conditions"] = [{**entry, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        patch = json.dumps({"status": status})
        self.kubectl("patch", "pod", pod, "-n", self.namespace, "--subresource=status", "--type=merge", "-p", patch)

    def report(self, step: int, checkpoint: int, attempt: int = 1, name: str = "demo") -> None:
        """What rank 0 reports."""
        progress = {
            "attempt": attempt,
            "step": step,
            "totalSteps": 100,
            "percent": step,
            "lastCheckpointStep": checkpoint,
            "updatedAt": "2026-01-01T00:00:00Z",
        }
        body = json.dumps({"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "status": {"progress": progress},
                           "metadata": {"name": name, "namespace": self.namespace}})  # fmt: skip
        flags = ("--server-side", "--subresource=status", "--field-manager=sro-reporter")
        self.kubectl("apply", *flags, "-f", "-", stdin=body)

    def patch(self, name: str = "demo", **run_policy: object) -> None:
        """Change the job's runPolicy, as its user does."""
        text = json.dumps({"spec": {"runPolicy": run_policy}})
        self.kubectl("patch", "srojob", name, "-n", self.namespace, "--type=merge", "-p", text)

    @contextmanager
    def claims(self) -> Iterator[None]:
        """The volume claims that a pod of `submit` mounts, each bound to a volume of its own."""
        made = bind_claims(self.kubectl, self.namespace)
        yield
        volumes = [each["metadata"]["name"] for each in made if each["kind"] == "PersistentVolume"]
        self.kubectl("delete", "pv", *volumes, "--wait=false")

    def left(self, name: str = "demo") -> list[str]:
        """Kind and name of every object that a job made and that is still there."""
        kinds = "jobs,pods,services,serviceaccounts"
        found = self.kubectl.get(kinds, "-n", self.namespace, "-l", f"sro.dev/job-name={name}")["items"]
        return [f"{item['kind']} {item['metadata']['name']}" for item in found]

    def wait_gone(self, name: str = "demo") -> None:
        """Wait until the garbage collector is done with what a job made."""
        wait_until(lambda: self.left(name) == [], f"nothing is left of {name}", lambda: str(self.left(name)))

    def names(self, kind: str) -> set[str]:
        """Names of the objects of one kind that the operator made here."""
        listed = self.kubectl.get(kind, "-n", self.namespace, "-l", "app.kubernetes.io/managed-by=sro-operator")[
            "items"
        ]
        return {item["metadata"]["name"] for item in listed}

    def events(self, name: str = "demo") -> list[str]:
        """Reasons of the job's events, oldest first."""
        listed = self.kubectl.get("events", "-n", self.namespace, "--field-selector", f"involvedObject.name={name}")[
            "items"
        ]
        listed = [item for item in listed if item["involvedObject"]["kind"] == "SROJob"]
        return [item["reason"] for item in sorted(listed, key=lambda item: int(item["metadata"]["resourceVersion"]))]


def sro_job(name: str, namespace: str, **changes: object) -> Manifest:
    """A valid SROJob on two nodes."""
    spec = {
        "leader": {"model": "pvc://models/leader"},
        "data": {"toxic": {"uri": "pvc://data/toxic.txt"}, "neutral": {"uri": "pvc://data/neutral.txt"}},
        "compute": {"nodes": 2},
        "output": {"uri": f"pvc://results/{name}"},
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "metadata": metadata, "spec": {**spec, **changes}}


def add_node(kubectl: Kubectl, name: str, *, pods: int, labels: dict[str, str] | None = None) -> None:
    """A node without a kubelet, with room for so many pods, for as long as the node controller believes in it."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {
        "type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "lastTransitionTime": now,
    }  # fmt: skip
    size = {"cpu": "64", "memory": "512Gi", "pods": str(pods)}
    kubectl.apply([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels or {}}}])
    status = {"status": {"conditions": [ready], "capacity": size, "allocatable": size}}
    kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))


def bind_claims(kubectl: Kubectl, namespace: str) -> list[Manifest]:
    """Make the claims that a job of `sro_job` names, each with a volume of its own, and wait until they are bound."""
    names = ("data", "models", "results")
    made = [each for claim in names for each in _bound(f"{namespace}-{claim}", claim, namespace)]
    kubectl.apply(made)
    kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc", *names, "-n", namespace, "--timeout=60s")
    return made


def _bound(volume: str, claim: str, namespace: str) -> tuple[Manifest, Manifest]:
    """A volume and the claim that it is kept for."""
    shape = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    kept_for = {"namespace": namespace, "name": claim}
    return (
        {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {**shape, "capacity": {"storage": "1Gi"}, "claimRef": kept_for, "hostPath": {"path": "/nowhere"}},
        },
        {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": kept_for,
            "spec": {**shape, "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
        },
    )  # fmt: skip


def condition(status: Manifest, kind: str) -> Manifest:
    """One condition of a status."""
    found: Manifest = next(entry for entry in status["conditions"] if entry["type"] == kind)
    return found


def true_conditions(status: Manifest) -> dict[str, str]:
    """The conditions that hold, with their reasons."""
    return {entry["type"]: entry["reason"] for entry in status["conditions"] if entry["status"] == "True"}


def wait_until(wanted: Callable[[], bool], what: str, tell: Callable[[], str] = str) -> None:
    """Poll until something holds.

    Raises:
        AssertionError: it did not within the time that no healthy machine needs; with what `tell` says.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not wanted():
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS:.0f} s: {what} {tell()}"
        time.sleep(0.1)
