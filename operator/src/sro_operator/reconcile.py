"""One look at one SROJob: read the cache, decide, act, report. Doing it again changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from sro_api.base import Manifest
from sro_api.labels import KIND, QUEUED, REASON_NODES_SHORT
from sro_api.status import SROJobStatus
from sro_api.v1alpha1 import SROJob
from sro_operator.announcements import Announcement, announcements, build_event, expiry
from sro_operator.attempts import nodes_of
from sro_operator.builders.common import attempt_name
from sro_operator.builders.pod_group import NoGangError, pod_group_of
from sro_operator.cache import Cache
from sro_operator.children import ChildWriter
from sro_operator.desired import desired_children, kept_children, of_size
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.kinds import SRO_JOB
from sro_operator.memory import PodMemory
from sro_operator.news import told
from sro_operator.observed import Observed, Refusal, observe, trainer_pod
from sro_operator.pacing import START_SECONDS, first_words_seconds, words_seconds
from sro_operator.parsing import InvalidSpecError, parse_job, parse_status
from sro_operator.plan import DeleteAttempt, DeleteSelf, KeepRecord, Plan, StartAttempt, next_plan
from sro_operator.ports import ClusterPort
from sro_operator.record import RECORD_ANNOTATION, read_record, record_text
from sro_operator.settings import OperatorSettings
from sro_operator.status import Difference, difference, invalid_status, is_finished, next_status

logger = logging.getLogger(__name__)

MAX_PASSES = 5
"""Reads and decisions per look; each action, and each doubt about the cache, asks for one more."""
MAX_CONFLICTS = 3
"""How often a look begins anew because the SROJob had changed since it was read."""
CONFLICT_RECHECK_SECONDS = 0.5
REFUSED_RECHECK_SECONDS = 15.0
"""How soon to try again what a quota, an admission rule or a missing right refused."""
PODS_PATIENCE_SECONDS = 10.0
"""A Job that has been going for so long and lacks pods was perhaps refused them. To ask is dear: the API server reads all events
of the namespace to find those of one object."""


class JobReconciler:
    """Reconciles SROJobs of one cluster."""

    def __init__(
        self,
        cluster: ClusterPort,
        cache: Cache,
        settings: OperatorSettings,
        pods: PodMemory,
        clock: Callable[[], datetime],
    ) -> None:
        """Build it.

        Args:
            cluster: writes, and the few reads that the cache cannot answer.
            cache: what the watches have shown; what is written is put into it as well.
            settings: of the operator.
            pods: how pods ended that are gone.
            clock: the time, with a time zone.
        """
        self._cluster = cluster
        self._cache = cache
        self._settings = settings
        self._pods = pods
        self._clock = clock
        self._children = ChildWriter(cluster, cache)
        self._written: dict[Key, datetime] = {}
        """When the status of an unfinished job was last written by this process."""
        self._begun: dict[Key, datetime] = {}
        """When this process made the first attempt of a job that it has not reported on yet."""
        self.pod_groups: dict[str, str] = {}
        """API group to apiVersion, of the PodGroups that the cluster knows."""
        self.tell: Callable[[Manifest], Awaitable[None]] = partial(told, cluster.create_event)
        """Writes an event, now or later."""
        self.on_written: Callable[[Manifest], None] = _ignore_manifest
        """Told of each SROJob as it is after its status was written."""
        self.on_reported: Callable[[SROJobStatus, SROJobStatus], None] = _ignore_statuses
        """Told of each status that was written, and of the one before it."""

    async def __call__(self, key: Key) -> float | None:
        """Look at one job; returns the seconds after which to look again though nothing happens.

        Raises:
            ApiError: a request failed in a way that a later look may not meet.
        """
        self._children.written.discard(key)
        try:
            for _ in range(MAX_CONFLICTS):
                try:
                    return await self._look(key)
                except ApiError as error:
                    if not error.is_conflict or error.is_there_already:
                        raise
                    await self._refresh_self(key)
        except ApiError as error:
            error.has_progressed = key in self._children.written
            raise
        return CONFLICT_RECHECK_SECONDS

    def forget(self, key: Key) -> None:
        """Drop what is kept about a job that is gone."""
        self._pods.forget(key)
        self._written.pop(key, None)
        self._begun.pop(key, None)

    async def _look(self, key: Key) -> float | None:
        manifest = self._cache.sro_job(key)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            self.forget(key)
            return None
        try:
            job = parse_job(manifest)
        except InvalidSpecError as error:
            before = parse_status(manifest.get("status") or {})
            generation = int(manifest["metadata"].get("generation", 1))
            await self._report(key, manifest, before, invalid_status(before, generation, str(error), self._now()))
            return None
        return await _Look(self, key, manifest, job).run()

    async def _refresh_self(self, key: Key) -> None:
        manifest = await self._cluster.find_sro_job(key)
        if manifest is not None:
            self._cache.saw(manifest, KIND)

    async def _report(self, key: Key, manifest: Manifest, before: SROJobStatus, after: SROJobStatus) -> Manifest:
        """Write the status if it differs, then say what is new in it; the SROJob as it is then."""
        if owned_status(before) == owned_status(after):
            return manifest
        written = await self._cluster.apply_status(key, manifest, owned_status(after))
        self._cache.saw(written, KIND)
        self._children.written.add(key)
        self._note_written(key, after)
        self.on_written(written)
        self.on_reported(before, after)
        # One after another: their order is read by people.
        for news in announcements(before, after):
            await self._announce(key, manifest, news)
        return written

    def _note_written(self, key: Key, status: SROJobStatus) -> None:
        self._begun.pop(key, None)
        if is_finished(status):
            self._written.pop(key, None)
        else:
            self._written[key] = self._now()

    def _early_seconds(self, key: Key, before: SROJobStatus, after: SROJobStatus) -> float:
        """How much too early it is to write this status, of which nothing depends on it; 0 if it is to be written.

        That a first attempt was made is known by its Job, so its pods may start before it is said.
        """
        answer = self._cluster.answer_seconds
        since, wait = self._written.get(key), 0.0
        if key in self._begun and after.phase == QUEUED:
            since, wait = self._begun[key], first_words_seconds(answer)
        elif before != after and (differs := difference(before, after)) is not Difference.MORE:
            wait = START_SECONDS if differs is Difference.START else words_seconds(answer)
        return 0.0 if since is None else max(0.0, wait - (self._now() - since).total_seconds())

    async def _announce(self, key: Key, manifest: Manifest, news: Announcement) -> None:
        fields = {"job": key.name, "namespace": key.namespace, "reason": news.reason, "detail": news.message}
        logger.info("job news", extra=fields)
        uid = str(manifest["metadata"]["uid"])
        await self.tell(build_event(key.name, key.namespace, uid, news, self._now()))

    def _now(self) -> datetime:
        return self._clock().replace(microsecond=0)


def _ignore_manifest(_manifest: Manifest) -> None:
    """Tell nobody."""


def _ignore_statuses(_before: SROJobStatus, _after: SROJobStatus) -> None:
    """Tell nobody."""


class _Look:
    """One look at a job whose spec can be read."""

    def __init__(self, owner: JobReconciler, key: Key, manifest: Manifest, job: SROJob) -> None:
        self._owner = owner
        self._cluster, self._cache, self._children = owner._cluster, owner._cache, owner._children
        self._key, self._manifest, self._job = key, manifest, job
        self._is_fresh = False
        """Whether the children were read from the API server in this look."""
        self._refusal: Refusal | None = None
        self._disrepair = ""

    async def run(self) -> float | None:
        recheck: float | None = None
        for _ in range(MAX_PASSES):
            status, plan = await self._decide()
            recheck = plan.recheck_seconds
            if is_finished(status) or (status.attempts and status.attempts[-1].reason == REASON_NODES_SHORT):
                # Said before anything is cleaned up: no crash in between can make a finished job run again, and of an attempt that
                # gives way to a smaller one nothing tells afterwards for how many pods there were nodes.
                await self._report(status)
            if not plan.actions or self._refusal is not None:
                break
            await self._act(status, plan)
            if any(isinstance(action, DeleteSelf) for action in plan.actions):
                return None
        if not is_finished(self._job.status):
            early = self._owner._early_seconds(self._key, self._job.status, status)
            if early and self._refusal is None:
                return min(recheck or early, early)
            await self._report(status)
        if self._disrepair or (self._refusal is not None and not self._refusal.is_permanent):
            return min(recheck or REFUSED_RECHECK_SECONDS, REFUSED_RECHECK_SECONDS)
        return recheck

    async def _decide(self) -> tuple[SROJobStatus, Plan]:
        """What to say and do. Before an attempt is given up or followed by another, the cache is not taken at its word."""
        observed = await self._observed()
        now = self._owner._now()
        status = next_status(self._job, observed, now)
        plan = next_plan(self._job, status, observed, now, self._owner._settings)
        if not self._is_fresh and (_is_missed(self._job, observed) or _follows_another(plan)):
            await self._read_children()
            return await self._decide()
        return status, plan

    async def _observed(self) -> Observed:
        uid = str(self._job.metadata["uid"])
        service = self._cache.supports_of(self._key).get(("Service", self._key.name))
        text = service["metadata"].get("annotations", {}).get(RECORD_ANNOTATION) if service is not None else None
        jobs = self._cache.jobs_of(self._key)
        pods = self._owner._pods.completed(self._key, self._cache.pods_of(self._key))
        observed = observe(uid, jobs, pods, self._refusal, read_record(text))
        self._disrepair = await self._mend(observed, text or "")
        return replace(observed, disrepair=self._disrepair, pods_refused=await self._refused_pods(observed))

    async def _mend(self, observed: Observed, text: str) -> str:
        """Put right what somebody changed or deleted of a running attempt; why it cannot be, if so."""
        attempts = self._job.status.attempts
        gang = observed.job(attempts[-1].number) if attempts and attempts[-1].end_time is None else None
        if gang is None or gang.is_deleting or gang.is_failing or is_finished(self._job.status):
            return ""
        ended = {attempt.number for attempt in attempts if attempt.end_time is not None}
        if not ended <= {attempt.number for attempt in read_record(text)}:
            text = record_text(attempts)
        kept = kept_children(
            self._job, gang.attempt, resumed_from_step=gang.resumed_from_step, record=text,
            nodes=nodes_of(self._job, attempts, gang), pod_group=gang.pod_group,
        )  # fmt: skip
        return await self._children.mend(self._key, kept)

    async def _refused_pods(self, observed: Observed) -> str:
        gang = observed.jobs[-1] if observed.jobs else None
        # A Job without a start has not been looked at by its controller: nothing was refused, there is only a queue.
        if gang is None or gang.started is None:
            return ""
        if gang.is_suspended or gang.is_deleting or gang.is_failing or gang.finished is not None:
            return ""
        nodes = nodes_of(self._job, self._job.status.attempts, gang)
        age = (self._owner._now() - gang.started).total_seconds()
        if age < PODS_PATIENCE_SECONDS or len(observed.pods_of(gang.attempt)) >= nodes:
            return ""
        return await self._cluster.refusal_of_pods(Key(namespace=self._key.namespace, name=gang.name))

    async def _read_children(self) -> None:
        """Ask the API server for this job's Jobs and pods, and for the newest attempt's Job by its name."""
        self._is_fresh = True
        jobs, pods = await asyncio.gather(self._cluster.jobs_of(self._key), self._cluster.pods_of(self._key))
        attempts = self._job.status.attempts
        if attempts and not any(
            job["metadata"]["name"] == attempt_name(self._job, attempts[-1].number) for job in jobs
        ):
            name = Key(namespace=self._key.namespace, name=attempt_name(self._job, attempts[-1].number))
            if (found := await self._cluster.find_job(name)) is not None:
                jobs.append(await self._children.relabelled(self._key, found, self._job))
        self._forget_absent("Job", {job["metadata"]["uid"] for job in jobs})
        self._forget_absent("Pod", {pod["metadata"]["uid"] for pod in pods})
        for manifest in jobs:
            self._cache.saw(manifest, "Job")
        for manifest in pods:
            self._cache.saw(manifest, "Pod")
            self._owner._pods.note(self._key, trainer_pod(manifest), is_gone=False)

    def _forget_absent(self, kind: str, present: set[str]) -> None:
        known = (
            {pod.uid for pod in self._cache.pods_of(self._key)}
            if kind == "Pod"
            else {job["metadata"]["uid"] for job in self._cache.jobs_of(self._key)}
        )
        for uid in known - present:
            self._cache.of_kind(kind).saw_gone(uid)

    async def _act(self, status: SROJobStatus, plan: Plan) -> None:
        for action in plan.actions:
            if isinstance(action, StartAttempt):
                await self._start(status, action)
            elif isinstance(action, DeleteAttempt):
                await self._children.delete_job(self._key, action.job)
            elif isinstance(action, KeepRecord):
                await self._children.keep_record(self._key, self._job, record_text(status.attempts))
            else:
                await self._delete_self()

    async def _start(self, status: SROJobStatus, action: StartAttempt) -> None:
        try:
            pod_group = pod_group_of(of_size(self._job, action.nodes), self._owner.pod_groups)
        except NoGangError as error:
            # Whoever reads the condition can install what is missing: the job waits for it.
            self._refusal = Refusal(message=str(error), is_permanent=False)
            return
        made = desired_children(
            self._job,
            self._owner._settings,
            action.number,
            resumed_from_step=action.resumed_from_step,
            record=record_text(status.attempts),
            nodes=action.nodes,
            pod_group=pod_group,
        )
        self._refusal = await self._children.make(self._key, made)
        if self._refusal is not None:
            return
        if action.number == 1:
            self._owner._begun[self._key] = self._owner._now()
        self._owner._pods.forget(self._key, before_attempt=action.number)
        fields = {"job": self._key.name, "namespace": self._key.namespace, "attempt": action.number}
        logger.info("attempt started", extra=fields)

    async def _delete_self(self) -> None:
        ttl = self._job.spec.run_policy.ttl_seconds_after_finished or 0
        await self._owner._announce(self._key, self._manifest, expiry(ttl))
        await self._cluster.delete(SRO_JOB, self._key, uid=str(self._job.metadata["uid"]))

    async def _report(self, status: SROJobStatus) -> None:
        self._manifest = await self._owner._report(self._key, self._manifest, self._job.status, status)
        self._job = self._job.model_copy(update={"status": status})


def _is_missed(job: SROJob, observed: Observed) -> bool:
    """Whether the cache lacks the Job of the attempt that is said to run."""
    attempts = job.status.attempts
    return bool(attempts) and attempts[-1].end_time is None and observed.job(attempts[-1].number) is None


def _follows_another(plan: Plan) -> bool:
    return any(isinstance(action, StartAttempt) and action.number > 1 for action in plan.actions)


def owned_status(status: SROJobStatus) -> Manifest:
    """The operator's part of a status as it travels; `progress` is the reporter's."""
    return status.model_copy(update={"progress": None}).to_wire()
