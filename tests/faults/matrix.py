"""`make faults-matrix`: what the operator makes of crashes, of watches that lie and of an API server that refuses.

Each run has a job's whole life behind a proxy that misbehaves in one way. It has to end as the undisturbed run does: the same status, the
same children, every Job made once, and at no moment live pods of two attempts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from proxy import CrashAt, Fault, FaultProxy, Partition, Recorder, StaleLists, Storm, WatchFault
from site_of_faults import FaultSite
from sro_cluster.controlplane import ControlPlane
from world import RESYNC_SECONDS, SCENARIOS, Api, NotReachedError, Operator, Stage, Witness, admin_context, outcome

Manifest = dict[str, Any]
PARTITION_SECONDS = 30.0
SEEDS = range(2)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run."""

    family: str
    scenario: str
    name: str
    fault: Callable[[Operator], Fault]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a run ended."""

    family: str
    problems: tuple[str, ...]
    slowest: float
    """The longest step, in seconds."""


class Matrix:
    """All runs on one control plane, one after another."""

    def __init__(self, site: FaultSite) -> None:
        self._site = site
        self._count = 0

    async def play(self, run: Run) -> tuple[Manifest, Fault, Stage, Witness, list[str]]:
        """One run: its outcome, and the fault as it is afterwards."""
        self._count += 1
        plane = self._site.plane
        pki = plane.directory / "pki"
        trust = admin_context(pki / "admin.crt", pki / "admin.key", plane.authority.pair.certificate)
        proxy = FaultProxy(plane.server, self._site.trust())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            api = Api(plane.server, session)
            stage = Stage(api=api, namespace=f"run-{self._count}")
            await stage.prepare()
            await proxy.start()
            name = f"run-{self._count}"
            kubeconfig = self._site.kubeconfig(proxy.url, name)
            operator = Operator(kubeconfig=kubeconfig, log=self._site.folder / f"{name}.log")
            witness = Witness(api=api, namespace=stage.namespace)
            async with _beside(witness.run()), _beside(_kept_alive(operator)):
                proxy.fault = run.fault(operator)
                try:
                    await SCENARIOS[run.scenario](stage)
                    end = await outcome(stage, witness)
                finally:
                    with contextlib.suppress(aiohttp.ClientError):
                        await api("DELETE", f"/api/v1/namespaces/{stage.namespace}")
            await operator.kill()
            fault = proxy.fault
            await proxy.stop()
        return end, fault, stage, witness, operator.faults()


async def _kept_alive(operator: Operator) -> None:
    """Start the operator, and start it again whenever it is gone: as a kubelet does."""
    try:
        while True:
            if operator.process is None:
                await operator.start()
            await asyncio.sleep(0.1)
    finally:
        await operator.kill()


@contextlib.asynccontextmanager
async def _beside(work: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def crashes(scenario: str, writes: list[str]) -> list[Run]:
    """A crash before and after each write of the undisturbed run."""
    runs = []
    for (number, write), is_after in itertools.product(enumerate(writes), (False, True)):
        family = f"crash {'after a write, before its reply' if is_after else 'before a write'}"
        runs.append(Run(family=family, scenario=scenario, name=f"{number} {write}", fault=_crash(number, is_after)))
    return runs


def storms(scenario: str) -> list[Run]:
    """Watches that lie, and errors in a share of the answers."""
    runs = []
    for kind, seed in itertools.product(("missed", "doubled", "reordered", "410", "frozen"), SEEDS):
        fault = WatchFault(kind=kind, chance=random.Random(seed))
        runs.append(Run(family=f"watch: {kind}", scenario=scenario, name=f"{kind} {seed}", fault=_always(fault)))
    for (code, share), seed in itertools.product(((500, 0.3), (500, 0.7), (409, 0.3), (409, 0.7), (429, 0.3)), SEEDS):
        storm, family = (
            Storm(code=code, share=share, chance=random.Random(seed)),
            f"{code} to {share:.0%} of the requests",
        )
        runs.append(Run(family=family, scenario=scenario, name=f"{code} {share} {seed}", fault=_always(storm)))
    runs.append(Run(family="stale lists", scenario=scenario, name="stale", fault=_always(StaleLists())))
    for number in (2, 7):
        partition, family = (
            Partition(number=number, seconds=PARTITION_SECONDS),
            f"partition of {PARTITION_SECONDS:.0f} s",
        )
        runs.append(Run(family=family, scenario=scenario, name=f"partition {number}", fault=_always(partition)))
    return runs


def _always(fault: Fault) -> Callable[[Operator], Fault]:
    return lambda _operator: fault


def _crash(number: int, is_after: bool) -> Callable[[Operator], Fault]:
    return lambda operator: CrashAt(number=number, is_after=is_after, kill=operator.kill)


async def judge(matrix: Matrix, run: Run, expected: Manifest) -> Verdict:
    """Play a run and compare its end with the undisturbed one's."""
    begun = time.monotonic()
    try:
        end, _, stage, witness, faults = await matrix.play(run)
    except NotReachedError as error:
        verdict = Verdict(family=run.family, problems=(f"not reached: {error}",), slowest=0.0)
    else:
        differing = [f"{key}: {end[key]} in place of {value}" for key, value in expected.items() if end[key] != value]
        problems = (*differing, *witness.violations, *(f"fault of the operator: {each}" for each in faults))
        verdict = Verdict(family=run.family, problems=problems, slowest=max(stage.lags.values()))
    mark = "ok  " if not verdict.problems else "FAIL"
    print(f"{mark} {time.monotonic() - begun:5.1f} s  {run.scenario}: {run.family}: {run.name}", flush=True)
    for problem in verdict.problems:
        print(f"       {problem}", flush=True)
    return verdict


async def run_all(matrix: Matrix, only: str) -> list[Verdict]:
    """The undisturbed runs, then all others."""
    verdicts = []
    for scenario in SCENARIOS:
        clean = Run(family="undisturbed", scenario=scenario, name="", fault=lambda _: Recorder())
        expected, recorder, stage, _, _ = await matrix.play(clean)
        assert isinstance(recorder, Recorder)
        print(f"undisturbed, {scenario}: {len(recorder.writes)} writes, slowest step {max(stage.lags.values()):.1f} s")
        for run in [*crashes(scenario, recorder.writes), *storms(scenario)]:
            if only in f"{run.family} {run.name}":
                verdicts.append(await judge(matrix, run, expected))
    return verdicts


def table(verdicts: list[Verdict]) -> str:
    """Runs and failures by kind of fault."""
    runs, failures = (
        Counter(each.family for each in verdicts),
        Counter(each.family for each in verdicts if each.problems),
    )
    slowest = {family: max(each.slowest for each in verdicts if each.family == family) for family in runs}
    rows = [f"| {family} | {count} | {failures[family]} | {slowest[family]:.1f} |" for family, count in runs.items()]
    total = f"| **all** | {len(verdicts)} | {sum(failures.values())} | {max(slowest.values(), default=0):.1f} |"
    head = [
        "",
        f"resync every {RESYNC_SECONDS:.0f} s",
        "",
        "| fault | runs | failures | slowest step, s |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, total])


def main() -> int:
    """0 if no run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="runs whose name contains this")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sro-faults-"))
    try:
        with ControlPlane() as plane:
            verdicts = asyncio.run(run_all(Matrix(FaultSite(plane, folder)), options.only))
    finally:
        if "verdicts" in locals() and not any(each.problems for each in verdicts):
            shutil.rmtree(folder)
        else:
            print(f"the operators' logs are in {folder}")
    print(table(verdicts))
    return int(any(each.problems for each in verdicts))


if __name__ == "__main__":
    sys.exit(main())
