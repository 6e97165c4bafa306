"""What wakes the queue, and what the pages say: no API server, no watches."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from sro_api.base import Manifest
from sro_operator.engine import Engine, sight_of
from sro_operator.metrics import Metrics
from sro_operator.settings import OperatorSettings
from sro_operator.testing import FakeCluster, VirtualClock, make_manifest


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


@pytest.mark.parametrize(
    ("generation", "deletion", "looks"), [(1, {}, 0), (2, {}, 1), (1, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, 1)]
)
def test_the_echo_of_a_write_is_no_reason_to_look_unless_the_job_was_changed_meanwhile(
    generation: int, deletion: dict[str, str], looks: int
) -> None:
    engine, _ = build_engine()
    written = changed(make_manifest(), "2", status={"phase": "Queued", "observedGeneration": 1})
    written["metadata"] |= {"generation": generation, **deletion}
    engine.on_written(written)
    engine.on_sro_job("MODIFIED", written)
    assert len(engine.queue) == looks


def test_an_operator_is_ready_once_it_has_listed_the_jobs() -> None:
    engine, _ = build_engine()
    assert engine.hindrances() == ["the jobs have not been listed yet"]

    async def listed() -> list[str]:
        await engine.resync()
        return engine.hindrances()

    assert asyncio.run(listed()) == []


def test_a_resync_wakes_every_job_that_no_event_told_of() -> None:
    engine, cluster = build_engine()
    cluster.put(make_manifest(name="running"))
    cluster.put(changed(make_manifest(name="done"), "1", status={"phase": "Complete"}))

    async def resynced() -> int:
        await engine.resync()
        return len(engine.queue)

    assert asyncio.run(resynced()) == 2


def test_the_page_counts_jobs_by_phase_and_names_its_metrics() -> None:
    engine, _ = build_engine()

    async def page() -> str:
        return engine.metrics_page().decode()

    names = {line.split(" ")[2] for line in asyncio.run(page()).splitlines() if line.startswith("# TYPE")}
    assert {name for name in names if not name.endswith("_created")} == {
        "sro_jobs",
        "sro_reconciles_total",
        "sro_reconcile_duration_seconds",
        "sro_api_requests_total",
        "sro_queue_depth",
        "sro_watch_lag_seconds",
        "sro_last_resync_timestamp_seconds",
    }
