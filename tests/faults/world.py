"""What a fault run happens in: a namespace, an operator behind the proxy, pods played by hand, a witness of what came and went."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

Manifest = dict[str, Any]
RESYNC_SECONDS = 3.0
LIMIT_SECONDS = 90.0
SETTINGS = {
    "SRO_RESTART_BASE_SECONDS": "0.5",
    "SRO_RESYNC_SECONDS": str(RESYNC_SECONDS),
    "SRO_HTTP_HOST": "127.0.0.1",
    "SRO_HTTP_PORT": "0",
    "SRO_KEPT_ATTEMPTS": "0",
}


class NotReachedError(AssertionError):
    """A state was not reached in the time that it may take."""


@dataclass
class Api:
    """The API server, past the proxy."""

    url: str
    session: aiohttp.ClientSession

    async def __call__(
        self, method: str, path: str, body: Manifest | None = None, kind: str = "application/json"
    ) -> Manifest:
        """One request; raises ClientResponseError when it is refused."""
        data = None if body is None else json.dumps(body)
        async with self.session.request(method, self.url + path, data=data, headers={"Content-Type": kind}) as answer:
            answer.raise_for_status()
            parsed: Manifest = await answer.json()
            return parsed

    async def items(self, path: str) -> list[Manifest]:
        """A list."""
        listed: list[Manifest] = (await self("GET", path))["items"]
        return listed


def admin_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """TLS as the administrator."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(certificate, key)
    return context


@dataclass(kw_only=True)
class Operator:
    """The operator as a process of its own, which reaches the API server by the proxy alone."""

    kubeconfig: Path
    log: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it works when it works."""
        environment = {**os.environ, **SETTINGS, **self.settings, "KUBECONFIG": str(self.kubeconfig)}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sro_operator", env=environment, stderr=log
            )

    async def kill(self) -> None:
        """End it as a crash would."""
        process, self.process = self.process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    def faults(self) -> list[str]:
        """What it logged as faults of its own."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [
            line.get("exception", line["message"])
            for line in lines
            if line["level"] == "ERROR" and line["logger"].startswith("sro_operator")
        ]


@dataclass(kw_only=True)
class Witness:
    """Watches Jobs and pods of one namespace past the proxy."""

    api: Api
    namespace: str
    made: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    _live: dict[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Until cancelled."""
        jobs = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        await asyncio.gather(self._follow(jobs, self._job), self._follow(pods, self._pod))

    async def _follow(self, path: str, tell: Callable[[str, Manifest], None]) -> None:
        url = f"{self.api.url}{path}?watch=1&resourceVersion=0"
        async with self.api.session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            rest = b""
            async for data in answer.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    tell(event["type"], event["object"])

    def _job(self, kind: str, job: Manifest) -> None:
        metadata = job["metadata"]
        if metadata["uid"] not in self._seen and kind != "DELETED":
            self._seen.add(metadata["uid"])
            self.made[metadata["name"]] += 1

    def _pod(self, kind: str, pod: Manifest) -> None:
        uid, attempt = pod["metadata"]["uid"], pod["metadata"]["labels"]["sro.dev/attempt"]
        if kind == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed"):
            self._live.pop(uid, None)
            return
        self._live[uid] = attempt
        if len(set(self._live.values())) > 1:
            self.violations.append(f"live pods of attempts {sorted(set(self._live.values()))}")


@dataclass(kw_only=True)
class Stage:
    """One namespace, and what happens in it."""

    api: Api
    namespace: str
    lags: dict[str, float] = field(default_factory=dict)

    @property
    def _job_path(self) -> str:
        return f"/apis/sro.dev/v1alpha1/namespaces/{self.namespace}/srojobs"

    async def prepare(self) -> None:
        """Make the namespace."""
        await self.api("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    async def submit(self) -> None:
        """Make the job."""
        spec = {
            "leader": {"model": "pvc://models/leader"},
            "data": {"toxic": {"uri": "pvc://data/toxic.txt"}, "neutral": {"uri": "pvc://data/neutral.txt"}},
            "compute": {"nodes": 2},
            "output": {"uri": "pvc://results/demo"},
        }
        body = {"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "metadata": {"name": "demo"}, "spec": spec}
        await self.api("POST", self._job_path, body)

    async def suspend(self, value: bool) -> None:
        """What its user does."""
        patch = {"spec": {"runPolicy": {"suspend": value}}}
        await self.api("PATCH", f"{self._job_path}/demo", patch, "application/merge-patch+json")

    async def status(self) -> Manifest:
        """The job's status."""
        found: Manifest = (await self.api("GET", f"{self._job_path}/demo")).get("status", {})
        return found

    async def pods(self, attempt: int) -> list[str]:
        """Wait for both pods of an attempt; their names by index."""

        async def found() -> list[Manifest]:
            path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=sro.dev/attempt={attempt}"
            return [pod for pod in await self.api.items(path) if "deletionTimestamp" not in pod["metadata"]]

        async def there() -> bool:
            return len(await found()) == 2

        await self.reach(f"pods of attempt {attempt}", there)
        index = "batch.kubernetes.io/job-completion-index"
        ordered = sorted(await found(), key=lambda pod: int(pod["metadata"]["labels"][index]))
        return [pod["metadata"]["name"] for pod in ordered]

    async def phase(self, phase: str, attempt: int) -> None:
        """Wait until the status says so."""

        async def there() -> bool:
            status = await self.status()
            return bool(status.get("phase") == phase and status.get("attempt") == attempt)

        await self.reach(f"{phase} in attempt {attempt}", there)

    async def reach(self, what: str, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something and note how long it took."""
        begun = time.monotonic()
        while not await holds():
            if time.monotonic() - begun > LIMIT_SECONDS:
                raise NotReachedError(f"{what}; status {json.dumps(await self.status())[:600]}")
            await asyncio.sleep(0.05)
        self.lags[what] = time.monotonic() - begun

    async def play(self, pod: str, phase: str, code: int | None = None) -> None:
        """What a kubelet says of a pod."""
        state: Manifest = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        if code is not None:
            state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": "said"}}
        container = {"name": "trainer", "image": "i", "imageID": "i", "restartCount": 0, "ready": code is None}
        patch = {"status": {"phase": phase, "containerStatuses": [{**container, "state": state}]}}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/status"
        try:
            await self.api("PATCH", path, patch, "application/merge-patch+json")
        except aiohttp.ClientResponseError as error:
            if error.status != 404:
                raise

    async def children(self) -> list[str]:
        """Kind and name of everything that carries the job's label, pods apart."""
        found = []
        for group, plural in (
            ("/apis/batch/v1", "jobs"),
            ("/api/v1", "services"),
            ("/api/v1", "serviceaccounts"),
        ):
            path = f"{group}/namespaces/{self.namespace}/{plural}?labelSelector=sro.dev/job-name=demo"
            found += [f"{plural}/{item['metadata']['name']}" for item in await self.api.items(path)]
        return sorted(found)


async def failure_then_success(stage: Stage) -> None:
    """One pod of the first attempt fails; the second attempt completes."""
    await stage.submit()
    first, second = await stage.pods(1)
    for pod in (first, second):
        await stage.play(pod, "Running")
    await stage.phase("Running", 1)
    await stage.play(second, "Failed", 137)
    third, fourth = await stage.pods(2)
    for pod in (third, fourth):
        await stage.play(pod, "Running")
    await stage.phase("Running", 2)
    for pod in (third, fourth):
        await stage.play(pod, "Succeeded", 0)
    await stage.phase("Complete", 2)


async def suspension(stage: Stage) -> None:
    """Suspended while it runs, resumed, and completed."""
    await stage.submit()
    pods = await stage.pods(1)
    for pod in pods:
        await stage.play(pod, "Running")
    await stage.phase("Running", 1)
    await stage.suspend(True)
    await _end_deleted(stage)
    await stage.phase("Suspended", 1)
    await stage.suspend(False)
    pods = await stage.pods(2)
    for pod in pods:
        await stage.play(pod, "Running")
    await stage.phase("Running", 2)
    for pod in pods:
        await stage.play(pod, "Succeeded", 0)
    await stage.phase("Complete", 2)


async def _end_deleted(stage: Stage) -> None:
    """The garbage collector deletes the pods; no kubelet holds them back."""

    async def gone() -> bool:
        path = f"/api/v1/namespaces/{stage.namespace}/pods?labelSelector=sro.dev/attempt=1"
        return not await stage.api.items(path)

    await stage.reach("no pod of attempt 1", gone)


SCENARIOS = {"a failed attempt": failure_then_success, "a suspension": suspension}


async def outcome(stage: Stage, witness: Witness) -> Manifest:
    """Where a run ended, without what differs from run to run."""

    async def settled() -> bool:
        status = await stage.status()
        return all("endTime" in attempt for attempt in status.get("attempts", [{}]))

    await stage.reach("settled", settled)
    status = await stage.status()
    return {
        "phase": status["phase"],
        "true": sorted(
            f"{entry['type']} {entry['reason']}" for entry in status["conditions"] if entry["status"] == "True"
        ),
        "restarts": status["restarts"],
        "disruptions": status["disruptions"],
        "attempts": [(each["number"], each["reason"], each.get("counted", False)) for each in status["attempts"]],
        "children": await stage.children(),
        "jobs made": dict(sorted(witness.made.items())),
    }
