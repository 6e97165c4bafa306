"""`make handover`: the leader is killed, or put to sleep and woken, twenty times; how long nobody led, and whether two ever wrote.

Each of three operators reaches the API server by a proxy of its own, which notes every write with its times. A job is made at the moment of
each kill: the next leader has taken over when that job's first child is made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import itertools

from operator_stage import SYSTEM, sro_job
from proxy import Fault, FaultProxy, Seen
from site_of_faults import FaultSite
from sro_cluster.controlplane import ControlPlane
from world import Api, Operator, admin_context

OPERATORS = 3
NAMESPACE = "handover"
SLEEP_SECONDS = 14.0
"""Longer than the lease lasts."""


@dataclass(kw_only=True)
class Clocked(Fault):
    """Notes when each write began and ended."""

    writes: list[tuple[float, float]] = field(default_factory=list)
    open: dict[int, float] = field(default_factory=dict)

    async def before(self, seen: Seen) -> web.Response | None:
        if seen.is_write:
            self.open[id(seen)] = time.monotonic()
        return None

    async def after(self, seen: Seen) -> None:
        if seen.is_write:
            self.writes.append((self.open.pop(id(seen)), time.monotonic()))


@dataclass(kw_only=True)
class Replica:
    """One operator, and what it wrote."""

    name: str
    operator: Operator
    clocked: Clocked
    proxy: FaultProxy

    @property
    def last_write(self) -> float:
        """When it last wrote; long ago if it never did."""
        return self.clocked.writes[-1][1] if self.clocked.writes else 0.0


class Handover:
    """Three operators and a series of kills."""

    def __init__(self, site: FaultSite, api: Api) -> None:
        self._site, self._api = site, api
        self._replicas: list[Replica] = []
        self._jobs = 0

    async def start(self) -> None:
        """Start the operators, and wait until one has acted."""
        await self._api("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for number in range(OPERATORS):
            proxy = FaultProxy(self._site.plane.server, self._site.trust())
            await proxy.start()
            proxy.fault = clocked = Clocked()
            kubeconfig = self._site.kubeconfig(proxy.url, f"replica-{number}")
            log = self._site.folder / f"replica-{number}.log"
            extra = {"SRO_LEASE_NAMESPACE": SYSTEM, "SRO_LEASE_NAME": "sro-operator", "SRO_RESYNC_SECONDS": "60"}
            operator = Operator(kubeconfig=kubeconfig, log=log, settings=extra)
            await operator.start()
            self._replicas.append(Replica(name=str(number), operator=operator, clocked=clocked, proxy=proxy))
        await self.new_job()

    async def stop(self) -> None:
        """End them."""
        for replica in self._replicas:
            await replica.operator.kill()
            await replica.proxy.stop()

    def leader(self) -> Replica:
        """The one that wrote last."""
        return max(self._replicas, key=lambda replica: replica.last_write)

    async def new_job(self) -> float:
        """Make a job; how long until its first child is there."""
        self._jobs += 1
        name, begun = f"job-{self._jobs}", time.monotonic()
        path = f"/apis/sro.dev/v1alpha1/namespaces/{NAMESPACE}/srojobs"
        await self._api("POST", path, sro_job(name, NAMESPACE))
        services = f"/api/v1/namespaces/{NAMESPACE}/services?fieldSelector=metadata.name={name}"
        while not await self._api.items(services):
            if time.monotonic() - begun > 60:
                raise AssertionError(f"nobody took over within 60 s; logs in {self._site.folder}")
            await asyncio.sleep(0.05)
        return time.monotonic() - begun

    async def kill(self) -> float:
        """kill -9 of the leader; seconds until another acts. The killed one comes back as a standby."""
        leader = self.leader()
        await leader.operator.kill()
        took = await self.new_job()
        await leader.operator.start()
        await self._stands_by(leader)
        return took

    async def lull(self) -> float:
        """The leader sleeps past its lease and wakes; seconds until another acted."""
        leader = self.leader()
        assert leader.operator.process is not None
        leader.operator.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        took = await self.new_job()
        await asyncio.sleep(max(0.0, SLEEP_SECONDS - (time.monotonic() - begun)))
        leader.operator.process.send_signal(signal.SIGCONT)
        await self.new_job()
        return took

    async def _stands_by(self, replica: Replica) -> None:
        """Wait until it has looked at the lease."""
        replica.proxy.leases = 0
        while not replica.proxy.leases:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)

    def overlaps(self) -> int:
        """Times that two operators wrote at once, or that a former leader wrote after its follower had begun."""
        spans = sorted((*write, replica.name) for replica in self._replicas for write in replica.clocked.writes)
        return sum(before[2] != after[2] and before[1] > after[0] for before, after in itertools.pairwise(spans))

    def changes(self) -> int:
        """How often the writer changed."""
        spans = sorted((*write, replica.name) for replica in self._replicas for write in replica.clocked.writes)
        return sum(before[2] != after[2] for before, after in itertools.pairwise(spans))

    def faults(self) -> list[str]:
        """What the operators logged as faults of their own."""
        return [fault for replica in self._replicas for fault in replica.operator.faults()]


async def play(site: FaultSite, kills: int, lulls: int) -> dict[str, Any]:
    """The whole series."""
    pki = site.plane.directory / "pki"
    trust = admin_context(pki / "admin.crt", pki / "admin.key", site.plane.authority.pair.certificate)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        handover = Handover(site, Api(site.plane.server, session))
        await handover.start()
        try:
            took = []
            for number in range(kills):
                took.append(await handover.kill())
                print(f"kill {number + 1}: {took[-1]:.2f} s", flush=True)
            slept = []
            for number in range(lulls):
                slept.append(await handover.lull())
                print(f"sleep {number + 1}: {slept[-1]:.2f} s", flush=True)
        finally:
            await handover.stop()
        return {
            "kills": kills,
            "hand-over, median s": round(statistics.median(took), 2),
            "hand-over, max s": round(max(took), 2),
            "sleeping leaders": lulls,
            "their hand-over, max s": round(max(slept), 2) if slept else None,
            "changes of the writer": handover.changes(),
            "two writers at once": handover.overlaps(),
            "faults of the operators": handover.faults(),
        }


def main() -> int:
    """0 if nobody waited 15 s and never two wrote."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--sleeps", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sro-handover-"))
    with ControlPlane() as plane:
        figures = asyncio.run(play(FaultSite(plane, folder), options.kills, options.sleeps))
    shutil.rmtree(folder)
    print(json.dumps(figures, indent=1))
    bad = figures["two writers at once"] or figures["hand-over, max s"] >= 15 or figures["faults of the operators"]
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
