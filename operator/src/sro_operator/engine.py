"""The running operator: watches fill a cache and wake a queue, a resync wakes all of it, an audit watches the watches."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import web

from sro_api.base import Manifest
from sro_api.labels import FINAL_PHASES, KIND, RUNNING
from sro_operator.cache import FOR_GOOD, Cache, own_key, owner_key
from sro_operator.cluster import Cluster
from sro_operator.discovery import pod_group_kinds
from sro_operator.election import Election, LeaseTerms
from sro_operator.errors import ApiError, NotLeaderError
from sro_operator.informer import Informer
from sro_operator.keys import Key
from sro_operator.kinds import CHILDREN, Kind, group_of
from sro_operator.memory import PodMemory
from sro_operator.metrics import Metrics
from sro_operator.news import NewsDesk
from sro_operator.observed import trainer_pod
from sro_operator.pacing import gathering_seconds
from sro_operator.ports import ClusterPort
from sro_operator.reconcile import JobReconciler
from sro_operator.server import serve
from sro_operator.settings import OperatorSettings
from sro_operator.work_queue import LATE, LATEST, Outcome, WorkQueue

logger = logging.getLogger(__name__)

RESYNC_RETRY_SECONDS = 2.0
RESYNC_SPREAD = 0.5
"""Share of the time between two resyncs over which the jobs of one are looked at."""
FLUSH_SECONDS = 5.0
"""A process that ends takes at most so long to write the events that wait."""


@dataclass(frozen=True)
class Sight:
    """What of an SROJob is worth a look when it changes: everything but its progress."""

    uid: str
    generation: int
    is_deleting: bool
    labels: tuple[tuple[str, str], ...]
    phase: str
    status: int
    """Its hash: thousands of jobs are remembered."""


class Engine:
    """One operator process, without the watch of SROJobs: handlers.py brings its events here."""

    def __init__(self, settings: OperatorSettings, cluster: ClusterPort, metrics: Metrics) -> None:
        """Build it idle; it leads, unless `elect` makes that depend on a lease."""
        self._settings = settings
        self._cluster = cluster
        self._metrics = metrics
        self._pods = PodMemory()
        self._sights: dict[Key, Sight] = {}
        self._resynced: float | None = None
        self._gathers = False
        """While the caches are filled, after which every job is looked at: no list need wake one."""
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: asyncio.Task[None] | None = None
        self._site: web.AppRunner | None = None
        self._election: Election | None = None
        self._group_kinds: set[Kind] = set()
        """PodGroups that are watched."""
        self._refused_kinds: set[Kind] = set()
        """PodGroups that the operator has no right to."""
        self.cache = Cache()
        self.informers: list[Informer] = []
        self._reconcile = JobReconciler(cluster, self.cache, settings, self._pods, lambda: datetime.now(UTC))
        self._reconcile.on_written = self._on_written
        self._reconcile.on_reported = metrics.count_news
        self.queue = WorkQueue(self._reconcile, settings.concurrency, self._count)
        self._news = NewsDesk(cluster.create_event, self.queue.until_quiet, lambda: self.queue.is_quiet)
        self._reconcile.tell = self._news.tell

    @classmethod
    async def start(cls, settings: OperatorSettings) -> Self:
        """Connect and begin to work, or to stand by.

        Raises:
            ConfigError: there is no cluster to be found.
            OSError: the HTTP port is taken.
        """
        metrics = Metrics(settings.progress_metrics_limit)
        cluster = await Cluster.connect(metrics.count_request)
        engine = cls(settings, cluster, metrics)
        engine._site = await serve(engine, settings)
        for kind in CHILDREN:
            engine._watch(cluster, kind)
        engine._spawn(engine._resync_for_ever(cluster), "resync")
        engine._spawn(engine._news.run(), "news")
        if settings.lease_namespace:
            engine._election = Election(cluster, lease_terms(settings))
            cluster.seconds_to_write = engine._election.seconds_to_write
            engine._spawn(engine._election.run(engine._begin, engine._cease), "election")
        else:
            engine._begin()
        return engine

    async def stop(self) -> None:
        """Stop working; what is half done is done again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.leads:
            await self._news.flush(FLUSH_SECONDS)
        await self._cease()
        if self._election is not None:
            await self._election.release()
        if self._site is not None:
            await self._site.cleanup()
        await self._cluster.close()

    @property
    def leads(self) -> bool:
        """Whether this process works, in place of standing by."""
        return self._election is None or self._election.leads

    def _watch(self, cluster: Cluster, kind: Kind) -> None:
        for namespace in self._settings.namespaces or (None,):
            informer = Informer(cluster, self.cache, kind, namespace, self.on_child, self._on_list)
            self.informers.append(informer)
            self._spawn(informer.run(), f"watch of {kind.plural}")

    async def _look_for_pod_groups(self, cluster: Cluster) -> None:
        """Watch the PodGroups that the cluster has come to know, as when a scheduler was installed or the API server upgraded.

        Before the first resync ends, and so before anything is decided.
        """
        found = await pod_group_kinds(cluster)
        for kind in found:
            if kind in self._group_kinds or kind in self._refused_kinds:
                continue
            try:
                for namespace in self._settings.namespaces or (None,):
                    async for _ in cluster.listed(kind, namespace, metadata_only=True):
                        break
            except ApiError as error:
                if not error.is_refusal:
                    raise
                # An older role than this operator: its jobs do without.
                logger.warning("PodGroups cannot be used", extra={"apiVersion": kind.api_version, "cause": str(error)})
                self._refused_kinds.add(kind)
                continue
            logger.info("PodGroups can be used", extra={"apiVersion": kind.api_version})
            self._watch(cluster, kind)
            self._group_kinds.add(kind)
        # Those of a scheduler that was taken away are no longer there for new attempts.
        usable = [kind for kind in found if kind in self._group_kinds]
        self._reconcile.pod_groups = {group_of(kind.api_version): kind.api_version for kind in usable}

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    def _begin(self) -> None:
        self._workers = asyncio.create_task(self._work(), name="workers")

    async def _cease(self) -> None:
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.cancel()
            await asyncio.gather(workers, return_exceptions=True)
        self._news.drop()

    async def _work(self) -> None:
        """Look at every job, once the caches are filled, and go on."""
        self._gathers = True
        while not self._is_synced:
            await asyncio.sleep(0.02)
        self._gathers = False
        for key in self.cache.sro_jobs.owners():
            self._wake_at_first(key)
        await self.queue.run()

    @property
    def _is_synced(self) -> bool:
        return self._resynced is not None and all(informer.is_synced for informer in self.informers)

    def _wake(self, key: Key, after_seconds: float = 0.0, *, lateness: int = 0) -> None:
        """A standby looks at nothing: it will look at everything when it begins to lead."""
        if self._workers is not None or self._election is None:
            self.queue.wake(key, after_seconds=after_seconds, lateness=lateness)

    def _wake_at_first(self, key: Key) -> None:
        """Wake a job that this process has not looked at yet: after those of its namespace that it has begun with, or in a burst of new
        jobs none would be followed. One that runs has what it needs, and of a finished one a time to live is all that may be
        due: both can wait for those that need something."""
        sight = self._sights.get(key)
        phase = sight.phase if sight is not None else ""
        self._wake(key, lateness=LATE if phase == RUNNING else LATEST if phase in FINAL_PHASES else 1)

    def on_sro_job(self, event: str | None, manifest: Manifest) -> None:
        """A watch delivered an SROJob."""
        if event == "DELETED":
            if self.cache.sro_jobs.saw_gone(manifest["metadata"]["uid"], FOR_GOOD):
                self._lost(own_key(manifest))
        elif self.cache.saw(manifest, KIND):
            self._consider(manifest)

    def _consider(self, manifest: Manifest) -> None:
        """Wake the queue if a job changed in more than its progress."""
        key, sight = own_key(manifest), sight_of(manifest)
        self._metrics.note_progress(key, sight.phase, manifest.get("status", {}).get("progress"))
        before = self._sights.get(key)
        if before == sight:
            return
        self._sights[key] = sight
        if before is None:
            self._wake_at_first(key)
        else:
            self._wake(key)

    def _lost(self, key: Key) -> None:
        self._sights.pop(key, None)
        self._metrics.forget(key)
        self.queue.forget(key)
        self._reconcile.forget(key)

    def _on_written(self, manifest: Manifest) -> None:
        """An SROJob's status was written, in the version in which it was read: its echo is no news."""
        self._sights[own_key(manifest)] = sight_of(manifest)
        progress = manifest.get("status", {}).get("progress")
        self._metrics.note_progress(own_key(manifest), manifest["status"].get("phase", ""), progress)

    def on_child(self, kind: Kind, manifest: Manifest, is_gone: bool) -> None:
        """A watch delivered a child that changed."""
        key = owner_key(manifest)
        if kind.name == "Pod":
            self._pods.note(key, trainer_pod(manifest), is_gone=is_gone)
        self._wake(key, after_seconds=gathering_seconds(self._cluster.answer_seconds))

    def _on_list(self, changed: set[Key]) -> None:
        if self._gathers:
            return
        for key in changed:
            self._wake(key, after_seconds=gathering_seconds(self._cluster.answer_seconds))

    def ailments(self) -> list[str]:
        """What a restart may cure; empty while all is well."""
        limit, ailments = self._settings.stuck_seconds, []
        if (slowest := self.queue.longest_seconds()) > limit:
            ailments.append(f"one reconcile has taken {slowest:.0f} s")
        tasks = [*self._tasks, *([self._workers] if self._workers is not None else [])]
        ailments += [f"task {task.get_name()} ended" for task in tasks if task.done()]
        return ailments

    def hindrances(self) -> list[str]:
        """Why it is not ready; empty while it is. A standby is ready when its caches are filled."""
        if self._resynced is None:
            return ["the jobs have not been listed yet"]
        if not self._is_synced:
            return ["the children have not been listed yet"]
        age = time.monotonic() - self._resynced
        limit = self._settings.resync_seconds + self._settings.stuck_seconds
        stale = [f"the jobs were last listed {age:.0f} s ago"] if age > limit else []
        return stale + self.ailments()

    def metrics_page(self) -> bytes:
        """The exposition text for Prometheus."""
        leads = self.leads
        self._metrics.leader.set(leads)
        self._metrics.queue_depth.set(len(self.queue) if leads else 0)
        self._metrics.queue_oldest.set(self.queue.oldest_seconds() if leads else 0)
        return self._metrics.page(sight.phase for sight in self._sights.values())

    async def _resync_for_ever(self, cluster: Cluster) -> None:
        while True:
            pause = self._settings.resync_seconds
            try:
                # Later on the jobs come first: where many requests err, what comes after others seldom comes at all.
                is_first = self._resynced is None
                if is_first:
                    await self._look_for_pod_groups(cluster)
                await self.resync()
                if not is_first:
                    await self._look_for_pod_groups(cluster)
                await self._audit()
            except ApiError as error:
                logger.warning("resync failed", extra={"cause": str(error)})
                pause = min(pause, error.retry_after_seconds or RESYNC_RETRY_SECONDS)
            await asyncio.sleep(pause)

    async def resync(self) -> None:
        """List all jobs, look at those that are not finished, and forget those that are gone."""
        listed: dict[Key, str] = {}
        unfinished: list[Key] = []
        known = self.cache.sro_jobs.versions(None)
        async for manifest in self._cluster.sro_jobs(self._settings.namespaces):
            listed[own_key(manifest)] = manifest["metadata"]["uid"]
            if self.cache.saw(manifest, KIND):
                self._consider(manifest)
            if manifest.get("status", {}).get("phase") not in FINAL_PHASES:
                unfinished.append(own_key(manifest))
        # Not all at once: a new job would wait behind thousands at which there is nothing to be seen.
        apart = RESYNC_SPREAD * self._settings.resync_seconds / max(len(unfinished), 1)
        for place, due in enumerate(unfinished):
            if self._resynced is None:
                self._wake_at_first(due)
            else:
                # Nothing says that there is anything to see, so those go first of which something does.
                self._wake(due, after_seconds=place * apart, lateness=1)
        # Only what was known before the list was asked for can be missing from it.
        for uid in set(known) - set(listed.values()):
            key = self.cache.sro_jobs.key_of(uid)
            if key is not None and self.cache.sro_jobs.saw_gone(uid) and key not in listed:
                self._lost(key)
        self._resynced = time.monotonic()
        self._metrics.last_resync.set_to_current_time()

    async def _audit(self) -> None:
        """Ask of each watch of children whether it has kept anything back."""
        for informer in self.informers:
            if not informer.is_synced:
                continue
            try:
                if await informer.audit():
                    self._metrics.watch_gaps.inc()
            except ApiError as error:
                # A kind that was taken away, as a scheduler's with its custom resources, must not keep the others from being looked at.
                if not error.is_not_found:
                    raise

    def _count(self, outcome: Outcome) -> None:
        self._metrics.count_reconcile(outcome.seconds, outcome.waited_seconds, has_failed=outcome.error is not None)
        if outcome.error is None:
            return
        fields = {"job": outcome.key.name, "namespace": outcome.key.namespace, "cause": str(outcome.error)}
        if isinstance(outcome.error, NotLeaderError):
            logger.info("not written: another process leads", extra=fields)
        elif isinstance(outcome.error, ApiError):
            logger.warning("reconcile will be tried again", extra=fields)
        else:
            logger.error("reconcile failed by a fault of the operator", extra=fields, exc_info=outcome.error)


def lease_terms(settings: OperatorSettings) -> LeaseTerms:
    """The lease as the settings have it; in a pod the host's name is the pod's."""
    return LeaseTerms(
        key=Key(namespace=settings.lease_namespace, name=settings.lease_name),
        identity=f"{socket.gethostname()}_{secrets.token_hex(4)}",
        duration_seconds=settings.lease_seconds,
        renew_seconds=settings.lease_renew_seconds,
    )


def sight_of(manifest: Manifest) -> Sight:
    """What of a job's manifest is worth a look."""
    metadata = manifest["metadata"]
    status = {key: value for key, value in manifest.get("status", {}).items() if key != "progress"}
    return Sight(
        metadata["uid"],
        metadata.get("generation", 0),
        "deletionTimestamp" in metadata,
        tuple(sorted(metadata.get("labels", {}).items())),
        status.get("phase", ""),
        hash(repr(status)),
    )
