"""One look at one SROJob: read, decide, act, report. Doing it again changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from sro_api.base import Manifest
from sro_api.status import SROJobStatus
from sro_api.v1alpha1 import SROJob
from sro_operator.announcements import Announcement, announcements, build_event, expiry
from sro_operator.builders.common import attempt_name
from sro_operator.desired import desired_children
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.memory import PodMemory
from sro_operator.observed import Observed, Refusal, observe, trainer_pod
from sro_operator.parsing import InvalidSpecError, parse_job, parse_status
from sro_operator.plan import Action, DeleteAttempt, DeleteSelf, StartAttempt, next_plan
from sro_operator.ports import ClusterPort
from sro_operator.settings import OperatorSettings
from sro_operator.status import invalid_status, is_finished, next_status

logger = logging.getLogger(__name__)

MAX_PASSES = 4
"""Reads and decisions per look; each action asks for one more."""
REFUSED_RECHECK_SECONDS = 15.0
"""How soon to try again what a quota, an admission rule or a missing right refused."""


class JobReconciler:
    """Reconciles SROJobs of one cluster."""

    def __init__(
        self, cluster: ClusterPort, settings: OperatorSettings, pods: PodMemory, clock: Callable[[], datetime]
    ) -> None:
        """Build it.

        Args:
            cluster: reads and writes.
            settings: of the operator.
            pods: what the watches have shown of pods.
            clock: the time, with a time zone.
        """
        self._cluster = cluster
        self._settings = settings
        self._pods = pods
        self._clock = clock
        self._repairs: set[Key] = set()
        self.phases: dict[Key, str] = {}
        """The phase of every job that there is."""
        self.on_written: Callable[[Manifest], None] = _ignore
        """Told of each SROJob as it is after its status was written: the watch's echo of it is no news."""

    def ask_repair(self, key: Key) -> None:
        """Have the supporting children of a running attempt applied again at the next look."""
        self._repairs.add(key)

    async def __call__(self, key: Key) -> float | None:
        """Look at one job; returns the seconds after which to look again though nothing happens.

        Raises:
            ApiError: a request failed in a way that a later look may not meet.
        """
        manifest = await self._cluster.get_sro_job(key)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            self.forget(key)
            return None
        try:
            job = parse_job(manifest)
        except InvalidSpecError as error:
            await self._refuse(key, manifest, str(error))
            return None
        return await self._pursue(key, job)

    def forget(self, key: Key) -> None:
        """Drop what is kept about a job that is gone."""
        self._repairs.discard(key)
        self._pods.forget(key)
        self.phases.pop(key, None)

    async def _refuse(self, key: Key, manifest: Manifest, message: str) -> None:
        before = parse_status(manifest.get("status") or {})
        generation = int(manifest["metadata"].get("generation", 1))
        after = invalid_status(before, generation, message, self._now())
        await self._report(key, str(manifest["metadata"]["uid"]), before, after)

    async def _pursue(self, key: Key, job: SROJob) -> float | None:
        refusal: Refusal | None = None
        recheck: float | None = None
        for _ in range(MAX_PASSES):
            observed = await self._observe(key, job, refusal)
            now = self._now()
            status = next_status(job, observed, now)
            plan = next_plan(job, status, observed, now, self._settings)
            recheck = plan.recheck_seconds
            if is_finished(status):
                # Said before anything is cleaned up: no crash in between can make a finished job run again.
                job = await self._reported(key, job, status)
            if not plan.actions or refusal is not None:
                break
            refusal = await self._act(key, job, plan.actions)
            if any(isinstance(action, DeleteSelf) for action in plan.actions):
                return None
        if not is_finished(job.status):
            job = await self._reported(key, job, status)
            await self._repair(key, job)
        if refusal is not None and not refusal.is_permanent:
            return REFUSED_RECHECK_SECONDS
        return recheck

    async def _observe(self, key: Key, job: SROJob, refusal: Refusal | None) -> Observed:
        jobs = await self._cluster.jobs_of(key)
        present = [trainer_pod(pod) for pod in await self._cluster.pods_of(key)]
        for pod in present:
            self._pods.note(key, pod, is_gone=False)
        return observe(str(job.metadata["uid"]), jobs, self._pods.completed(key, present), refusal)

    async def _act(self, key: Key, job: SROJob, actions: tuple[Action, ...]) -> Refusal | None:
        for action in actions:
            if isinstance(action, StartAttempt):
                if refusal := await self._start(key, job, action):
                    return refusal
            elif isinstance(action, DeleteAttempt):
                await self._delete_attempt(key, job, action)
            else:
                await self._delete_self(key, job)
        return None

    async def _start(self, key: Key, job: SROJob, action: StartAttempt) -> Refusal | None:
        children = desired_children(job, self._settings, action.number, resumed_from_step=action.resumed_from_step)
        for wave in children.waves:
            refusals = await asyncio.gather(*(self._refusal_of(key, child) for child in wave))
            if refusal := next(filter(None, refusals), None):
                return refusal
        self._pods.forget(key, before_attempt=action.number)
        fields = {"job": key.name, "namespace": key.namespace, "attempt": action.number}
        logger.info("attempt started", extra=fields)
        return None

    async def _refusal_of(self, key: Key, child: Manifest) -> Refusal | None:
        """Apply a child; what the API server said if it refused."""
        try:
            await self._cluster.apply(child)
        except ApiError as error:
            if not error.is_refusal:
                raise
            text = f"{child['kind']} {child['metadata']['name']} was refused: {error.message}"
            logger.warning("child refused", extra={"job": key.name, "namespace": key.namespace, "cause": text})
            # A support is refused for lack of rights, or while an older object of its name is on its way out.
            return Refusal(message=text, is_permanent=error.is_invalid and child["kind"] == "Job")
        return None

    async def _delete_attempt(self, key: Key, job: SROJob, action: DeleteAttempt) -> None:
        found = action.job
        name = Key(namespace=key.namespace, name=found.name)
        # In the state in which it was seen: one that completed meanwhile must be seen to be complete.
        await self._cluster.delete("Job", name, uid=found.uid, resource_version=found.resource_version)
        name = Key(namespace=key.namespace, name=attempt_name(job, found.attempt))
        await self._cluster.delete("ConfigMap", name)
        logger.info("attempt deleted", extra={"job": key.name, "namespace": key.namespace, "attempt": found.attempt})

    async def _delete_self(self, key: Key, job: SROJob) -> None:
        ttl = job.spec.run_policy.ttl_seconds_after_finished or 0
        await self._announce(key, str(job.metadata["uid"]), expiry(ttl))
        await self._cluster.delete("SROJob", key, uid=str(job.metadata["uid"]))

    async def _repair(self, key: Key, job: SROJob) -> None:
        """Put back supporting children that somebody changed or deleted while they are in use."""
        newest = job.status.attempts[-1] if job.status.attempts else None
        if key not in self._repairs or newest is None or newest.end_time is not None:
            return
        *supports, _ = desired_children(job, self._settings, newest.number).waves
        for wave in supports:
            await asyncio.gather(*(self._cluster.apply(child) for child in wave))
        self._repairs.discard(key)

    async def _reported(self, key: Key, job: SROJob, status: SROJobStatus) -> SROJob:
        await self._report(key, str(job.metadata["uid"]), job.status, status)
        return job.model_copy(update={"status": status})

    async def _report(self, key: Key, uid: str, before: SROJobStatus, after: SROJobStatus) -> None:
        """Write the status if it differs, then say what is new in it."""
        self.phases[key] = after.phase or ""
        if owned_status(before) == owned_status(after):
            return
        self.on_written(await self._cluster.apply_status(key, uid, owned_status(after)))
        for news in announcements(before, after):
            await self._announce(key, uid, news)

    async def _announce(self, key: Key, uid: str, news: Announcement) -> None:
        fields = {"job": key.name, "namespace": key.namespace, "reason": news.reason, "detail": news.message}
        logger.info("job news", extra=fields)
        await self._cluster.create_event(build_event(key.name, key.namespace, uid, news, self._now()))

    def _now(self) -> datetime:
        return self._clock().replace(microsecond=0)


def _ignore(_manifest: Manifest) -> None:
    """Tell nobody."""


def owned_status(status: SROJobStatus) -> Manifest:
    """The operator's part of a status as it travels; `progress` is the reporter's."""
    return status.model_copy(update={"progress": None}).to_wire()
