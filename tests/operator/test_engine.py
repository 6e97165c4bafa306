"""What wakes the queue, and what the pages say: no API server, no watches."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from sro_api.base import Manifest
from sro_operator.engine import Engine, sight_of
from sro_operator.keys import Key
from sro_operator.metrics import Metrics
from sro_operator.settings import OperatorSettings
from sro_operator.testing import FakeCluster, VirtualClock, make_manifest
from sro_operator.work_queue import WorkQueue
from virtual_time import VirtualTimeLoop


def build_engine() -> tuple[Engine, FakeCluster]:
    cluster = FakeCluster(VirtualClock())
    return Engine(OperatorSettings(), cluster, Metrics()), cluster


def changed(manifest: Manifest, version: str, **changes: Any) -> Manifest:
    manifest = copy.deepcopy(manifest)
    manifest["metadata"] |= {"resourceVersion": version}
    return {**manifest, **changes}


def test_progress_alone_is_no_reason_to_look() -> None:
    first = make_manifest()
    status = {"phase": "Running", "progress": {"step": 1}}
    running = changed(first, "2", status=status)
    further = changed(first, "3", status={**status, "progress": {"step": 2}})
    suspended = changed(further, "4")
    suspended["metadata"]["generation"] = 2
    assert sight_of(first) != sight_of(running)
    assert sight_of(running) == sight_of(further)
    assert sight_of(further) != sight_of(suspended)


def test_the_echo_of_a_write_is_no_reason_to_look() -> None:
    engine, _ = build_engine()
    written = changed(make_manifest(), "2", status={"phase": "Queued", "observedGeneration": 1})
    engine.cache.saw(written)
    engine._on_written(written)
    engine.on_sro_job("MODIFIED", written)
    assert len(engine.queue) == 0
    engine.on_sro_job("MODIFIED", changed(written, "3", status={"phase": "Failed"}))
    assert len(engine.queue) == 1


def test_a_job_that_a_list_no_longer_shows_is_forgotten() -> None:
    engine, cluster = build_engine()
    engine.on_sro_job("ADDED", make_manifest(name="gone"))
    cluster.put(make_manifest(name="here"))
    asyncio.run(engine.resync())
    assert engine.cache.sro_job(Key(namespace="team", name="gone")) is None
    assert engine.cache.sro_job(Key(namespace="team", name="here")) is not None


def test_an_operator_is_ready_once_it_has_listed_the_jobs() -> None:
    engine, _ = build_engine()
    assert engine.hindrances() == ["the jobs have not been listed yet"]

    async def listed() -> list[str]:
        await engine.resync()
        return engine.hindrances()

    assert asyncio.run(listed()) == []


def test_jobs_that_run_or_are_finished_come_last_when_they_are_met_for_the_first_time() -> None:
    engine, _ = build_engine()
    phases = [("done", "Complete"), ("lost", "Failed"), ("going", "Running"), ("new", ""), ("held", "Queued")]
    looked: list[str] = []

    async def look(key: Key) -> None:
        looked.append(key.name)

    async def met() -> None:
        engine.queue = WorkQueue(look, 1, lambda _: None)
        for name, phase in phases:
            manifest = make_manifest(name=name)
            manifest["metadata"]["uid"] = name
            engine.on_sro_job("ADDED", {**manifest, "status": {"phase": phase}})
        worker = asyncio.create_task(engine.queue.run())
        async with asyncio.timeout(5):
            while len(looked) < len(phases):
                await asyncio.sleep(0)
        worker.cancel()

    asyncio.run(met())
    assert looked == ["new", "held", "going", "done", "lost"]


def test_a_resync_wakes_every_job_that_no_event_told_of() -> None:
    engine, cluster = build_engine()
    cluster.put(make_manifest(name="running"))
    cluster.put(changed(make_manifest(name="done"), "1", status={"phase": "Complete"}))

    async def resynced() -> int:
        await engine.resync()
        return len(engine.queue)

    assert asyncio.run(resynced()) == 2


def test_later_resyncs_spread_their_looks_over_half_the_time_between_two() -> None:
    engine, cluster = build_engine()
    for number in range(4):
        manifest = make_manifest(name=f"job-{number}")
        manifest["metadata"]["uid"] = str(number)
        cluster.put(manifest)

    async def looked_after() -> list[float]:
        loop, looks = asyncio.get_running_loop(), list[float]()

        async def look(_: Key) -> None:
            looks.append(loop.time())

        await engine.resync()
        engine.queue = WorkQueue(look, 1, lambda _: None)
        worker = asyncio.create_task(engine.queue.run())
        await engine.resync()
        await asyncio.sleep(60)
        worker.cancel()
        return looks

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(looked_after()) == [0.0, 7.5, 15.0, 22.5]


def test_the_page_counts_jobs_by_phase_and_names_its_metrics() -> None:
    engine, _ = build_engine()

    async def page() -> str:
        return engine.metrics_page().decode()

    names = {line.split(" ")[2] for line in asyncio.run(page()).splitlines() if line.startswith("# TYPE")}
    assert {name for name in names if not name.endswith("_created")} == {
        "sro_jobs",
        "sro_jobs_finished_total",
        "sro_attempts_ended_total",
        "sro_reconciles_total",
        "sro_reconcile_duration_seconds",
        "sro_queue_wait_seconds",
        "sro_queue_depth",
        "sro_queue_oldest_seconds",
        "sro_api_requests_total",
        "sro_leader",
        "sro_watch_gaps_total",
        "sro_last_resync_timestamp_seconds",
        "sro_job_progress_left_out",
        "sro_job_step",
        "sro_job_steps_planned",
        "sro_job_loss",
        "sro_job_pass_rate",
        "sro_job_held_out_pass_rate",
        "sro_job_similarity",
        "sro_job_kl",
        "sro_job_samples_per_second",
        "sro_job_last_checkpoint_step",
    }


def test_running_jobs_have_gauges_up_to_a_limit_and_lose_them_when_they_end() -> None:
    metrics = Metrics(progress_limit=1)
    progress = {"step": 7, "totalSteps": 9, "loss": 0.5, "stage": "Training"}
    keys = [Key(namespace="team", name=name) for name in ("first", "second")]
    for key in keys:
        metrics.note_progress(key, "Running", progress)
    page = metrics.page([]).decode()
    assert 'sro_job_step{name="first",namespace="team"} 7.0' in page
    assert 'name="second"' not in page
    assert "sro_job_progress_left_out 1.0" in page
    metrics.note_progress(keys[0], "Complete", progress)
    metrics.note_progress(keys[1], "Running", progress)
    page = metrics.page([]).decode()
    assert 'sro_job_loss{name="second",namespace="team"} 0.5' in page
    assert 'name="first"' not in page


def test_no_job_has_gauges_where_they_are_switched_off() -> None:
    metrics = Metrics(progress_limit=0)
    metrics.note_progress(Key(namespace="team", name="demo"), "Running", {"step": 7})
    assert "sro_job_step{" not in metrics.page([]).decode()
