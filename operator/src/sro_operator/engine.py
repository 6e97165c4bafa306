"""The running operator: events wake a queue, a resync wakes all of it, an audit watches the watches."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from aiohttp import web

from sro_api.base import Manifest
from sro_api.labels import FINAL_PHASES, JOB_NAME_LABEL
from sro_operator.cluster import Cluster
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.memory import PodMemory, WatchAudit
from sro_operator.metrics import Metrics
from sro_operator.observed import trainer_pod
from sro_operator.ports import ClusterPort
from sro_operator.reconcile import JobReconciler
from sro_operator.server import serve
from sro_operator.settings import OperatorSettings
from sro_operator.work_queue import Outcome, WorkQueue

logger = logging.getLogger(__name__)

RESYNC_RETRY_SECONDS = 2.0
GATHERING_SECONDS = 0.1
"""A look that a Job or pod asks for waits this long: the pods of a gang change together."""


@dataclass(frozen=True)
class Sight:
    """What of an SROJob is worth a look when it changes: everything but its progress."""

    uid: str
    generation: int
    is_deleting: bool
    labels: tuple[tuple[str, str], ...]
    status: int
    """Its hash: thousands of jobs are remembered."""


class Engine:
    """One operator process, without the watches: handlers.py brings their events here."""

    def __init__(self, settings: OperatorSettings, cluster: ClusterPort, metrics: Metrics) -> None:
        """Build it idle."""
        self._settings = settings
        self._cluster = cluster
        self._metrics = metrics
        self._pods = PodMemory()
        self._audit = WatchAudit()
        self._sights: dict[Key, Sight] = {}
        self._resynced: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._site: web.AppRunner | None = None
        self._reconcile = JobReconciler(cluster, settings, self._pods, lambda: datetime.now(UTC))
        self._reconcile.on_written = self.on_written
        self.queue = WorkQueue(self._reconcile, settings.concurrency, self._count)

    @classmethod
    async def start(cls, settings: OperatorSettings) -> Self:
        """Connect and begin to work.

        Raises:
            ConfigError: there is no cluster to be found.
            OSError: the HTTP port is taken.
        """
        metrics = Metrics()
        engine = cls(settings, await Cluster.connect(metrics.count_request), metrics)
        engine._site = await serve(engine, settings)
        engine._tasks = [asyncio.create_task(engine.queue.run()), asyncio.create_task(engine._resync_for_ever())]
        return engine

    async def stop(self) -> None:
        """Stop working; what is half done is done again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._site is not None:
            await self._site.cleanup()
        await self._cluster.close()

    def on_sro_job(self, event: str | None, manifest: Manifest) -> None:
        """A watch delivered an SROJob."""
        metadata = manifest["metadata"]
        key = Key(namespace=metadata["namespace"], name=metadata["name"])
        if event == "DELETED":
            self._audit.deleted(metadata["uid"])
            self._sights.pop(key, None)
            self.queue.forget(key)
            self.queue.wake(key)
            return
        self._audit.seen(metadata["uid"], metadata["resourceVersion"])
        sight = sight_of(manifest)
        if self._sights.get(key) != sight:
            self._sights[key] = sight
            self.queue.wake(key)

    def on_written(self, manifest: Manifest) -> None:
        """An SROJob's status was written: its echo is no news, unless the job was changed since it was read."""
        metadata = manifest["metadata"]
        is_current = metadata.get("generation") == manifest["status"].get("observedGeneration")
        if is_current and "deletionTimestamp" not in metadata:
            self._sights[Key(namespace=metadata["namespace"], name=metadata["name"])] = sight_of(manifest)

    def on_child(self, manifest: Manifest) -> None:
        """A watch delivered a Job of ours."""
        self.queue.wake(_owner(manifest), after_seconds=GATHERING_SECONDS)

    def on_pod(self, event: str | None, manifest: Manifest) -> None:
        """A watch delivered a trainer pod."""
        key = _owner(manifest)
        if self._pods.note(key, trainer_pod(manifest), is_gone=event == "DELETED"):
            self.queue.wake(key, after_seconds=GATHERING_SECONDS)

    def ailments(self) -> list[str]:
        """What a restart may cure; empty while all is well."""
        limit, ailments = self._settings.stuck_seconds, []
        if (slowest := self.queue.longest_seconds()) > limit:
            ailments.append(f"one reconcile has taken {slowest:.0f} s")
        if (lag := self._audit.lag_seconds(time.monotonic())) > limit:
            ailments.append(f"a watch has owed a change for {lag:.0f} s")
        ailments += [f"task {task.get_name()} ended" for task in self._tasks if task.done()]
        return ailments

    def hindrances(self) -> list[str]:
        """Why it is not ready; empty while it is."""
        if self._resynced is None:
            return ["the jobs have not been listed yet"]
        age = time.monotonic() - self._resynced
        limit = self._settings.resync_seconds + self._settings.stuck_seconds
        stale = [f"the jobs were last listed {age:.0f} s ago"] if age > limit else []
        return stale + self.ailments()

    def metrics_page(self) -> bytes:
        """The exposition text for Prometheus."""
        self._metrics.queue_depth.set(len(self.queue))
        self._metrics.watch_lag.set(self._audit.lag_seconds(time.monotonic()))
        return self._metrics.page(self._reconcile.phases.values())

    async def _resync_for_ever(self) -> None:
        while True:
            pause = self._settings.resync_seconds
            try:
                await self.resync()
            except ApiError as error:
                logger.warning("resync failed", extra={"cause": str(error)})
                pause = min(pause, error.retry_after_seconds or RESYNC_RETRY_SECONDS)
            await asyncio.sleep(pause)

    async def resync(self) -> None:
        """List all jobs, look at those that are not finished, and forget those that are gone."""
        asked, versions, present = time.monotonic(), {}, set()
        async for manifest in self._cluster.sro_jobs(self._settings.namespaces):
            metadata = manifest["metadata"]
            key = Key(namespace=metadata["namespace"], name=metadata["name"])
            present.add(key)
            versions[metadata["uid"]] = metadata["resourceVersion"]
            if manifest.get("status", {}).get("phase") not in FINAL_PHASES:
                self._reconcile.ask_repair(key)
                self.queue.wake(key)
            elif key not in self._reconcile.phases:
                self.queue.wake(key)
        for key in set(self._reconcile.phases) - present:
            self.queue.wake(key)
        self._audit.listed(versions, asked)
        self._resynced = time.monotonic()
        self._metrics.last_resync.set_to_current_time()

    def _count(self, outcome: Outcome) -> None:
        self._metrics.count_reconcile(outcome.seconds, has_failed=outcome.error is not None)
        if outcome.error is None:
            return
        fields = {"job": outcome.key.name, "namespace": outcome.key.namespace, "cause": str(outcome.error)}
        if isinstance(outcome.error, ApiError):
            logger.warning("reconcile will be tried again", extra=fields)
        else:
            logger.error("reconcile failed by a fault of the operator", extra=fields, exc_info=outcome.error)


def _owner(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return Key(namespace=metadata["namespace"], name=metadata["labels"][JOB_NAME_LABEL])


def sight_of(manifest: Manifest) -> Sight:
    """What of a job's manifest is worth a look."""
    metadata = manifest["metadata"]
    status = {key: value for key, value in manifest.get("status", {}).items() if key != "progress"}
    return Sight(
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        is_deleting="deletionTimestamp" in metadata,
        labels=tuple(sorted(metadata.get("labels", {}).items())),
        status=hash(repr(status)),
    )
