"""Where the operator is measured: a control plane, nodes of kwok, the operator under its chart's account, and what the API says of jobs."""

from __future__ import annotations

import asyncio
import base64
import http
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "cluster"), str(ROOT / "tests" / "e2e")]

from stages import stages  # noqa: E402

from operator_stage import ACCOUNT, SYSTEM, bind_claims, rendered, sro_job  # noqa: E402
from sro_cluster.client import Kubectl, kubectl_of  # noqa: E402
from sro_cluster.controlplane import ControlPlane, free_ports  # noqa: E402

Manifest = dict[str, Any]
NAMESPACE = "bench"
NODES = 20
OPERATOR = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
JOB_CONTROLLER = "system:serviceaccount:kube-system:job-controller"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass
class Told:
    """What was seen of each job, and when, in steady seconds."""

    pods: defaultdict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    phases: defaultdict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))

    def running(self) -> int:
        """Jobs whose status said Running."""
        return sum("Running" in phases for phases in self.phases.values())

    def complete(self) -> int:
        """Jobs whose status says Complete."""
        return sum("Complete" in phases for phases in self.phases.values())

    def with_pods(self) -> int:
        """Jobs both of whose pods exist."""
        return sum(len(pods) >= 2 for pods in self.pods.values())


class Site:
    """A context manager: ready on entry, gone on exit."""

    def __init__(self, kwok: Path, pod_seconds: float) -> None:
        self._kwok, self._pod_seconds = kwok, pod_seconds
        self.plane = ControlPlane(audit=True, controller_qps=1000)
        self.told = Told()
        self.operator: subprocess.Popen[bytes] | None = None
        self._player: subprocess.Popen[bytes] | None = None
        self._watches: list[asyncio.Task[None]] = []
        self.session: aiohttp.ClientSession
        self.kubectl: Kubectl
        self.peak_mib = 0.0

    async def __aenter__(self) -> Site:
        await asyncio.to_thread(self.plane.__enter__)
        try:
            await self._prepare()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop_operator(signal.SIGKILL)
        for watch in self._watches:
            watch.cancel()
        if self._player is not None:
            self._player.kill()
            self._player.wait()
        if hasattr(self, "session"):
            await self.session.close()
        self.plane.__exit__(None, None, None)

    async def _prepare(self) -> None:
        plane = self.plane
        self.kubectl = kubectl_of(plane.binaries, plane.kubeconfig)
        for namespace in (SYSTEM, NAMESPACE):
            self.kubectl("create", "namespace", namespace)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=rendered(plane))
        self.kubectl.wait_for_crd()
        bind_claims(self.kubectl, NAMESPACE)
        self._start_kwok()
        pki = plane.directory / "pki"
        trust = ssl.create_default_context(cafile=str(plane.authority.pair.certificate))
        trust.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=16))
        await self._nodes_ready()
        token = self.kubectl("create", "token", ACCOUNT, "-n", SYSTEM, "--duration=5h").strip()
        self._write_kubeconfig(token)
        pods, jobs = f"/api/v1/namespaces/{NAMESPACE}/pods", f"/apis/sro.dev/v1alpha1/namespaces/{NAMESPACE}/srojobs"
        self._watches = [
            asyncio.create_task(self._follow(pods, self._pod, _METADATA)),
            asyncio.create_task(self._follow(jobs, self._job, "application/json")),
        ]

    def _start_kwok(self) -> None:
        path = self.plane.directory / "stages.yaml"
        path.write_text(stages(self._pod_seconds))
        flags = ("--manage-all-nodes", "--node-lease-duration-seconds=40", "--node-ip=10.0.0.1")
        command = [str(self._kwok), f"--kubeconfig={self.plane.kubeconfig}", f"--config={path}", *flags]
        with (self.plane.directory / "kwok.log").open("wb") as log:
            self._player = subprocess.Popen(command, stdout=log, stderr=log)

    async def _nodes_ready(self) -> None:
        for number in range(NODES):
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}"}}
            await self.call("POST", "/api/v1/nodes", node)
        for _ in range(600):
            nodes = (await self.call("GET", "/api/v1/nodes"))["items"]
            if sum(_is_ready(node) for node in nodes) == NODES:
                return
            await asyncio.sleep(0.2)
        raise RuntimeError("the nodes did not become ready")

    def _write_kubeconfig(self, token: str) -> None:
        authority = base64.b64encode(self.plane.authority.pair.certificate.read_bytes()).decode()
        cluster = {"server": self.plane.server, "certificate-authority-data": authority}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self._kubeconfig = self.plane.directory / "operator.kubeconfig"
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(json.dumps(document))

    async def call(self, method: str, path: str, body: Manifest | None = None) -> Manifest:
        """One request as the administrator; raises when it is refused."""
        async with self.session.request(method, self.plane.server + path, json=body) as answer:
            answer.raise_for_status()
            parsed: Manifest = await answer.json()
            return parsed

    async def submit(self, name: str, nodes: int = 2) -> float:
        """Make a job of so many pods; when it was asked for."""
        job = sro_job(name, NAMESPACE, compute={"nodes": nodes})
        begun = time.monotonic()
        await self.call("POST", f"/apis/sro.dev/v1alpha1/namespaces/{NAMESPACE}/srojobs", job)
        return begun

    def start_operator(self) -> float:
        """Start it as the chart does, with its defaults, a lease included; when it was started."""
        (self._port,) = free_ports(1)
        settings = {
            "SRO_HTTP_HOST": "127.0.0.1", "SRO_HTTP_PORT": str(self._port), "SRO_LEASE_NAMESPACE": SYSTEM,
        }  # fmt: skip
        environment = {**os.environ, **settings, "KUBECONFIG": str(self._kubeconfig)}
        begun = time.monotonic()
        with (self.plane.directory / "operator.log").open("ab") as log:
            self.operator = subprocess.Popen([sys.executable, "-m", "sro_operator"], env=environment, stderr=log)
        return begun

    def stop_operator(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        process, self.operator = self.operator, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(timeout=30)

    def log(self) -> str:
        """What the operator said."""
        return (self.plane.directory / "operator.log").read_text()

    async def metrics(self) -> dict[str, float]:
        """The operator's metrics: value by name and labels."""
        async with self.session.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
            lines = [line.rpartition(" ") for line in (await answer.text()).splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def cpu_seconds(self) -> float:
        """Of the operator's process so far."""
        assert self.operator is not None
        fields = Path(f"/proc/{self.operator.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        """Resident memory of the operator's process now, and the peak kept."""
        assert self.operator is not None
        lines = Path(f"/proc/{self.operator.pid}/status").read_text().splitlines()
        values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
        self.peak_mib = int(values["VmHWM"]) / 1024
        return int(values["VmRSS"]) / 1024

    async def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait.

        Raises:
            RuntimeError: not in time.
        """
        deadline = time.monotonic() + seconds
        while not holds():
            for watch in self._watches:
                if watch.done():
                    watch.result()
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {seconds:.0f} s: {what}")
            await asyncio.sleep(0.02)

    def requests(self, since: int) -> dict[str, Counter[str]]:
        """Requests by account, then by verb and resource, from a position in the audit log; watches and leases apart."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        with self.plane.audit_log.open(encoding="utf-8") as log:
            log.seek(since)
            for line in log:
                entry = json.loads(line)
                user, target = entry["user"]["username"], entry.get("objectRef", {})
                if (
                    user not in (OPERATOR, JOB_CONTROLLER)
                    or target.get("resource") == "leases"
                    or entry["verb"] == "watch"
                ):
                    continue
                resource = "/".join(target[part] for part in ("resource", "subresource") if part in target)
                found[user][f"{entry['verb']} {resource}"] += 1
        return found

    def audit_position(self) -> int:
        """The end of the audit log."""
        return self.plane.audit_log.stat().st_size

    async def _follow(self, path: str, tell: Callable[[str, Manifest], None], accept: str) -> None:
        url = f"{self.plane.server}{path}?watch=1&resourceVersion=0"
        # The API server ends the watches of a kind whose definition is still settling; what a new one tells again changes nothing.
        while True:
            async with self.session.get(
                url, headers={"Accept": accept}, timeout=aiohttp.ClientTimeout(total=None)
            ) as answer:
                if answer.status == http.HTTPStatus.TOO_MANY_REQUESTS:
                    await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
                    continue
                answer.raise_for_status()
                rest = b""
                async for data in answer.content.iter_any():
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        tell(event["type"], event["object"])

    def _pod(self, _kind: str, pod: Manifest) -> None:
        metadata = pod["metadata"]
        self.told.pods[metadata["labels"]["sro.dev/job-name"]].setdefault(metadata["uid"], time.monotonic())

    def _job(self, _kind: str, job: Manifest) -> None:
        if phase := job.get("status", {}).get("phase"):
            self.told.phases[job["metadata"]["name"]].setdefault(phase, time.monotonic())


def _is_ready(node: Manifest) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
