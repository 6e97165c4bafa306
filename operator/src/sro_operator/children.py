"""Makes, mends and deletes the children of an SROJob."""

from __future__ import annotations

import asyncio
import logging

from sro_api.base import Manifest
from sro_api.labels import JOB_NAME_LABEL
from sro_api.v1alpha1 import SROJob
from sro_operator.builders.common import metadata_of
from sro_operator.builders.service import build_service
from sro_operator.cache import FOR_GOOD, Cache
from sro_operator.desired import Children
from sro_operator.drift import JOB_FIELDS, has_drifted
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.kinds import JOB, POD_GROUP, kind_of
from sro_operator.observed import AttemptJob, Refusal, is_child_of
from sro_operator.ports import ClusterPort

logger = logging.getLogger(__name__)


class ChildWriter:
    """Writes children, only those that are not as they should be, and keeps the cache in step."""

    def __init__(self, cluster: ClusterPort, cache: Cache) -> None:
        """Build it."""
        self._cluster = cluster
        self._cache = cache
        self.written: set[Key] = set()
        """Jobs of which something was written since they were taken out."""

    async def make(self, key: Key, children: Children) -> Refusal | None:
        """Make an attempt's children, what others need first; what the API server said if it refused one."""
        for wave in children.waves:
            refusals = await asyncio.gather(*(self._ensure(key, child) for child in wave))
            if refusal := next(filter(None, refusals), None):
                return refusal
        return None

    async def mend(self, key: Key, children: Children) -> str:
        """Put right what differs; why one cannot be, in words, if so. A Job that is gone is none of this function's business."""
        for wave in children.waves:
            refusals = await asyncio.gather(*(self._ensure(key, child, is_there=True) for child in wave))
            if refusal := next(filter(None, refusals), None):
                return f"cannot be put right: {refusal.message}"
        return ""

    async def keep_record(self, key: Key, job: SROJob, record: str) -> None:
        """Write the ended attempts onto the job's Service."""
        self._cache.saw(await self._cluster.apply(build_service(job, record)), "Service")
        self.written.add(key)
        logger.info("attempts recorded", extra={"job": key.name, "namespace": key.namespace})

    async def delete_job(self, key: Key, found: AttemptJob) -> None:
        """Delete an attempt's Job in the state in which it was seen: one that completed meanwhile must be seen to be complete."""
        name = Key(namespace=key.namespace, name=found.name)
        # First, so that no crash in between leaves it behind.
        await self._delete_group(name, key)
        rest = await self._cluster.delete(JOB, name, uid=found.uid, resource_version=found.resource_version)
        if rest is None:
            self._cache.of_kind("Job").saw_gone(found.uid, FOR_GOOD)
        else:
            self._cache.saw(rest, "Job")
        self.written.add(key)
        logger.info("attempt deleted", extra={"job": key.name, "namespace": key.namespace, "attempt": found.attempt})

    async def _delete_group(self, name: Key, key: Key) -> None:
        """Delete an attempt's PodGroup, if there is one."""
        for (kind, called), group in self._cache.supports_of(key).items():
            if kind.startswith(POD_GROUP) and called == name.name and "deletionTimestamp" not in group["metadata"]:
                place, uid = kind_of(group), group["metadata"]["uid"]
                rest = await self._cluster.delete(place, name, uid=uid)
                if rest is None:
                    self._cache.of_kind(kind).saw_gone(uid, FOR_GOOD)
                else:
                    self._cache.saw(rest, kind)

    async def relabelled(self, key: Key, found: Manifest, job: SROJob) -> Manifest:
        """A Job that was found by its name alone; with its labels and owner put back if it is the job's own."""
        if not is_child_of(found, str(job.metadata["uid"])) or JOB_NAME_LABEL in found["metadata"].get("labels", {}):
            return found
        number = int(found["metadata"]["name"].rpartition("-a")[2])
        metadata = metadata_of(job, found["metadata"]["name"], number)
        logger.warning(
            "labels put back", extra={"job": key.name, "namespace": key.namespace, "child": metadata["name"]}
        )
        # Not the whole Job: its template cannot change, and what it was made from may be an older operator's.
        return await self._cluster.merge({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})

    async def _ensure(self, key: Key, child: Manifest, *, is_there: bool = False) -> Refusal | None:
        """Make or mend one child if need be."""
        kind, name = kind_of(child).name, child["metadata"]["name"]
        actual = self._known(key, kind, name)
        if actual is not None and not has_drifted(actual, child):
            return None
        if kind == "Job" and actual is None and is_there:
            return None
        try:
            self._cache.saw(await (self._create(key, child) if actual is None else self._mended(key, child)), kind)
            self.written.add(key)
        except ApiError as error:
            if not error.is_refusal:
                raise
            text = f"{kind} {name} was refused: {error.message}"
            logger.warning("child refused", extra={"job": key.name, "namespace": key.namespace, "cause": text})
            # A support is refused for lack of rights, or while an older object of its name is on its way out.
            return Refusal(message=text, is_permanent=error.is_invalid and kind == "Job" and actual is None)
        return None

    def _known(self, key: Key, kind: str, name: str) -> Manifest | None:
        if kind != "Job":
            return self._cache.supports_of(key).get((kind, name))
        return next((job for job in self._cache.jobs_of(key) if job["metadata"]["name"] == name), None)

    async def _create(self, key: Key, child: Manifest) -> Manifest:
        """Make a child; one that is there already, unknown to the cache, is taken over if it is the job's own."""
        try:
            return await self._cluster.create(child)
        except ApiError as error:
            if not error.is_there_already:
                raise
        if child["kind"] != "Job":
            return await self._mended(key, child)
        found = await self._cluster.find_job(Key(namespace=key.namespace, name=child["metadata"]["name"]))
        (owner,) = child["metadata"]["ownerReferences"]
        if found is None or not is_child_of(found, owner["uid"]):
            raise ApiError(403, "a Job of this name exists that is not of this SROJob")
        return found

    async def _mended(self, key: Key, child: Manifest) -> Manifest:
        fields = {"job": key.name, "namespace": key.namespace, "child": f"{child['kind']} {child['metadata']['name']}"}
        logger.info("child brought up to date", extra=fields)
        if child["kind"] != "Job":
            return await self._cluster.apply(child)
        # Never its template, which cannot change, and which an operator of another version may have made.
        return await self._cluster.merge({**child, "spec": {name: child["spec"][name] for name in JOB_FIELDS}})
