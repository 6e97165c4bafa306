"""`make bench-operator`: how quick, how large and how sparing the operator is, on a real control plane with kwok's pods.

The method is that of the figures of Kubeflow's operators quoted in the table below, taken on the same kind of machine (two cores, 24 GiB):
two pods a job that run 1 s, a fresh control plane for each phase, requests counted in the audit log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from site_of_bench import JOB_CONTROLLER, OPERATOR, Site

IDLE_JOBS = 20
CRASH_JOBS = 100
LIVE_POD_SECONDS = 36_000.0
QUIET_SECONDS = 150
"""Two resyncs and more."""
PEERS = {
    "idle: create to both pods, median s": ("0.031", "0.060", "0.060"),
    "idle: requests a job": ("15.9", "21.2", "18"),
    "burst: all children, s": ("198 (77 raised)", "116", "90"),
    "burst: create to Complete, p99 s": ("238", "124", "110"),
    "burst: requests a job": ("11.0", "18.0", "16"),
    "burst: peak resident MiB": ("148", "69 + 146", "200"),
    "burst: operator's CPU s": ("34", "27", "60"),
    "start to first action, finished jobs there, s": ("2.9", "2.2 (pods 18.8)", "5"),
    "a job made while the operator is down": ("refused", "refused", "accepted"),
    "kill -9 amid 100 jobs: finished, extra pods": ("100, 0", "100, 0", "100, 0"),
}
"""Figures of PyTorchJob 1.8.1 and TrainJob 2.0.0 with JobSet 0.8.2 for 1,000 jobs, and the bar for SROJob."""


def quantile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


async def idle(kwok: Path) -> dict[str, Any]:
    """Twenty jobs one after another."""
    async with Site(kwok, 1.0) as site:
        site.start_operator()
        await _warm(site)
        position, pods, running, complete = site.audit_position(), [], [], []
        for number in range(IDLE_JOBS):
            name = f"idle-{number}"
            begun = await site.submit(name)
            await site.until(lambda name=name: "Complete" in site.told.phases[name], 60, f"{name} completes")
            pods.append(max(site.told.pods[name].values()) - begun)
            complete.append(site.told.phases[name]["Complete"] - begun)
            if "Running" in site.told.phases[name]:
                running.append(site.told.phases[name]["Running"] - begun)
        requests = _requests(site, position, IDLE_JOBS)
        return {
            "idle: create to both pods, median s": round(statistics.median(pods), 3),
            "idle: create to both pods, max s": round(max(pods), 3),
            "idle: create to Running, median s": round(statistics.median(running), 3) if running else None,
            "idle: create to Complete, median s": round(statistics.median(complete), 3),
            "idle: requests a job": requests["total"],
            "idle: requests": requests,
        }


async def burst(kwok: Path, jobs: int, pod_seconds: float) -> dict[str, Any]:
    """Many jobs at once; then the operator's start with all of them finished."""
    async with Site(kwok, pod_seconds) as site:
        site.start_operator()
        await _warm(site)
        before, cpu, position, begun = site.rss_mib(), site.cpu_seconds(), site.audit_position(), time.monotonic()
        asked = await _submit_all(site, jobs)
        await site.until(lambda: site.told.with_pods() >= jobs + 1, 900, "all pods exist")
        children = time.monotonic() - begun
        await site.until(lambda: site.told.complete() >= jobs + 1, 900, "all jobs complete")
        site.rss_mib()
        peak, used = site.peak_mib, site.cpu_seconds() - cpu
        lags = [site.told.phases[name]["Complete"] - at for name, at in asked.items()]
        ran = sum("Running" in site.told.phases[name] for name in asked)
        figures = {
            "burst: all children, s": round(children, 1),
            "burst: create to Complete, p50 s": round(quantile(lags, 0.5), 1),
            "burst: create to Complete, p99 s": round(quantile(lags, 0.99), 1),
            "burst: jobs whose status ever said Running": ran,
            "burst: requests a job": (requests := _requests(site, position, jobs))["total"],
            "burst: requests": requests,
            "burst: resident MiB before": round(before),
            "burst: peak resident MiB": round(peak),
            "burst: operator's CPU s": round(used, 1),
        }
        return {**figures, **await _restarted(site)}


async def _restarted(site: Site) -> dict[str, Any]:
    """Stop; make a job; start: how long until it acts."""
    site.stop_operator()
    await site.submit("waiting")
    await asyncio.sleep(1)
    begun = site.start_operator()
    await site.until(lambda: len(site.told.pods["waiting"]) == 2, 120, "the waiting job has pods")
    took = max(site.told.pods["waiting"].values()) - begun
    return {
        "start to first action, finished jobs there, s": round(took, 2),
        "a job made while the operator is down": "accepted",
    }


async def crash(kwok: Path) -> dict[str, Any]:
    """The operator is killed when 30 of 100 jobs have pods, and is back 2 s later."""
    async with Site(kwok, 1.0) as site:
        site.start_operator()
        await _warm(site)
        await _submit_all(site, CRASH_JOBS)
        await site.until(lambda: site.told.with_pods() >= 30, 120, "30 jobs have pods")
        site.stop_operator(signal.SIGKILL)
        await asyncio.sleep(2)
        begun = site.start_operator()
        await site.until(lambda: site.told.complete() >= CRASH_JOBS + 1, 300, "all jobs complete")
        took = time.monotonic() - begun
        extra = sum(len(pods) - 2 for pods in site.told.pods.values())
        return {
            "kill -9 amid 100 jobs: finished, extra pods": f"{CRASH_JOBS}, {extra}",
            "kill -9 amid 100 jobs: restart to all Complete, s": round(took, 1),
        }


async def live(kwok: Path, jobs: int) -> dict[str, Any]:
    """So many jobs of one pod that all run: what they cost while nothing happens, and after a restart."""
    async with Site(kwok, LIVE_POD_SECONDS) as site:
        site.start_operator()
        await site.submit("warm", nodes=1)
        await site.until(lambda: "Running" in site.told.phases["warm"], 120, "the first job runs; " + site.log()[-500:])
        begun, before = time.monotonic(), await site.metrics()
        await _submit_all(site, jobs, nodes=1)
        await site.until(lambda: site.told.running() >= jobs + 1, 3 * jobs, "all jobs run")
        took, after = time.monotonic() - begun, await site.metrics()
        site.rss_mib()
        filled = {
            "live: seconds until all run": round(took),
            "live: reconcile p99 s, at most": bucket_of(before, after, 0.99),
            "live: peak resident MiB": round(site.peak_mib),
        }
        print(json.dumps(filled), flush=True)
        position, cpu = site.audit_position(), site.cpu_seconds()
        await asyncio.sleep(QUIET_SECONDS)
        quiet = await site.metrics()
        found: Counter[str] = site.requests(position)[OPERATOR]
        steady = {
            "live: requests a minute, nothing happening": round(found.total() * 60 / QUIET_SECONDS, 1),
            "live: of them writes": sum(
                count for name, count in found.items() if name.split()[0] not in ("get", "list")
            ),
            "live: requests by kind": dict(found.most_common()),
            "live: operator's CPU, share of a core": round((site.cpu_seconds() - cpu) / QUIET_SECONDS, 3),
            "live: reconcile p99 s at rest, at most": bucket_of(after, quiet, 0.99),
            "live: resident MiB": round(site.rss_mib()),
        }
        site.stop_operator()
        await site.submit("waiting", nodes=1)
        begun = site.start_operator()
        await site.until(lambda: bool(site.told.pods["waiting"]), 300, "the waiting job has its pod")
        first = max(site.told.pods["waiting"].values()) - begun
        site.rss_mib()
        return {
            **filled,
            **steady,
            "live: start to first action, s": round(first, 2),
            "live: peak resident MiB after a restart": round(site.peak_mib),
        }


def bucket_of(before: dict[str, float], after: dict[str, float], share: float) -> float:
    """The least bound of the histogram of reconcile durations below which this share of those between two pages lies, seconds."""
    name = "sro_reconcile_duration_seconds_bucket"
    counts = {
        float(line.partition('le="')[2].partition('"')[0]): value - before.get(line, 0.0)
        for line, value in after.items()
        if line.startswith(name)
    }
    total = max(counts.values())
    return min(bound for bound, count in counts.items() if count >= share * total)


async def _warm(site: Site) -> None:
    """One job through its whole life, so that nothing measured is a first time."""
    await site.submit("warm")
    await site.until(
        lambda: "Complete" in site.told.phases["warm"], 120, "the first job completes; " + site.log()[-500:]
    )


async def _submit_all(site: Site, jobs: int, nodes: int = 2) -> dict[str, float]:
    """Make jobs by 16 requests at a time."""
    asked: dict[str, float] = {}
    names = iter([f"job-{number}" for number in range(jobs)])

    async def worker() -> None:
        for name in names:
            asked[name] = await site.submit(name, nodes=nodes)

    await asyncio.gather(*(worker() for _ in range(16)))
    return asked


def _requests(site: Site, position: int, jobs: int) -> dict[str, Any]:
    """Requests a job: in all, of status, and by account, verb and resource."""
    found = site.requests(position)
    mine: Counter[str] = found[OPERATOR]
    theirs: Counter[str] = found[JOB_CONTROLLER]
    both = mine + theirs

    def per_job(count: int) -> float:
        return round(count / jobs, 2)

    return {
        "total": per_job(both.total()),
        "operator": per_job(mine.total()),
        "job controller": per_job(theirs.total()),
        "operator, status": per_job(sum(count for name, count in mine.items() if name.endswith("/status"))),
        "operator, by kind": {name: per_job(count) for name, count in mine.most_common()},
    }


def table(figures: dict[str, Any]) -> str:
    """Ours beside the peers'."""
    rows = [
        f"| {name} | {pytorchjob} | {trainjob} | {bar} | **{figures.get(name, '-')}** |"
        for name, (pytorchjob, trainjob, bar) in PEERS.items()
    ]
    head = ["| | PyTorchJob | TrainJob | SROJob, at most | SROJob |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def main() -> int:
    """Run the phases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kwok", type=Path, required=True, help="kwok 0.8.0")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--pod-seconds", type=float, default=1.0, help="in the burst; 1 in the other phases")
    parser.add_argument("--live-jobs", type=int, default=5000)
    parser.add_argument("--phases", default="idle,burst,crash", help="of idle, burst, crash, live")
    options = parser.parse_args()
    phases = {
        "idle": lambda: idle(options.kwok),
        "burst": lambda: burst(options.kwok, options.jobs, options.pod_seconds),
        "crash": lambda: crash(options.kwok),
        "live": lambda: live(options.kwok, options.live_jobs),
    }
    figures: dict[str, Any] = {}
    for name in options.phases.split(","):
        figures |= asyncio.run(phases[name]())
        print(json.dumps(figures, indent=1), flush=True)
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
