"""Builders and a fake cluster for unit tests."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sro_api.base import Manifest
from sro_api.labels import API_VERSION, ATTEMPT_LABEL, JOB_NAME_LABEL, KIND, STUDY_LABEL
from sro_api.status import SROJobStatus
from sro_api.v1alpha1 import SROJob
from sro_operator.cache import FOR_GOOD, Cache
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.kinds import Kind, kind_of
from sro_operator.observed import INDEX_ANNOTATION

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When the unit tests begin."""
JOB_UID = "uid-of-demo"


def make_manifest(
    *,
    name: str = "demo",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: object,
) -> Manifest:
    """A valid SROJob on two nodes as the API server would serve it.

    Args:
        name: of the job.
        labels: of the job.
        annotations: of the job.
        spec: top-level keys of the spec to add or replace, as on the wire.
    """
    minimal: Manifest = {
        "leader": {"model": "pvc://models/leader"},
        "data": {"toxic": {"uri": "pvc://data/toxic.txt"}, "neutral": {"uri": "pvc://data/neutral.txt"}},
        "compute": {"nodes": 2},
        "output": {"uri": f"pvc://results/{name}"},
    }
    metadata: Manifest = {"name": name, "namespace": "team", "uid": JOB_UID, "generation": 1, "resourceVersion": "1"}
    extra = {"labels": labels, "annotations": annotations}
    metadata |= {key: value for key, value in extra.items() if value}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": {**minimal, **spec}}


def make_job(status: SROJobStatus | None = None, **changes: object) -> SROJob:
    """The same as a model; `changes` as for `make_manifest`."""
    job = SROJob.model_validate(make_manifest(**changes))  # type: ignore[arg-type]
    return job if status is None else job.model_copy(update={"status": status})


class VirtualClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        """Start at EPOCH."""
        self.now = EPOCH

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.now += timedelta(seconds=seconds)


class FakeCluster:
    """Holds objects as an API server does, and counts writes. It knows no admission and no controllers: the test plays them.

    What changes is in the cache at once, as if watches took no time, unless they are held.
    """

    def __init__(self, clock: VirtualClock) -> None:
        """Empty."""
        self._clock = clock
        self._version = 1
        self.cache = Cache()
        self.is_blind = False
        """While True the cache learns of nothing but what its owner writes."""
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.events: list[Manifest] = []
        self.writes: list[str] = []
        """Verb and object of each write, in order."""
        self.reads: list[str] = []
        """Reads past the cache."""
        self.answer_seconds = 0.0
        self.refused_pods = ""
        self._failures: dict[str, ApiError] = {}

    def put(self, manifest: Manifest) -> Manifest:
        """Store an object as its creator, with what the API server adds."""
        metadata = manifest["metadata"]
        kind = (manifest["kind"], metadata["namespace"], metadata["name"])
        stored = copy.deepcopy(manifest)
        if before := self.objects.get(kind):
            stored.setdefault("status", before.get("status", {}))
            stored["metadata"].setdefault("uid", before["metadata"]["uid"])
            stored["metadata"].setdefault("creationTimestamp", before["metadata"]["creationTimestamp"])
        self._version += 1
        stored["metadata"] |= {"resourceVersion": str(self._version)}
        stored["metadata"].setdefault("uid", f"uid-{self._version}")
        stored["metadata"].setdefault("creationTimestamp", self._clock().isoformat())
        self.objects[kind] = stored
        if not self.is_blind:
            self.cache.saw(stored)
        return copy.deepcopy(stored)

    def remove(self, kind: str, name: str) -> None:
        """An object of the namespace `team` is deleted by somebody."""
        stored = self.objects.pop((kind, "team", name))
        if not self.is_blind:
            self.cache.of_kind(kind_of(stored).name).saw_gone(stored["metadata"]["uid"], FOR_GOOD)

    def get(self, kind: str, name: str) -> Manifest:
        """One object of the namespace `team`."""
        return self.objects[(kind, "team", name)]

    def set_status(self, kind: str, name: str, status: Manifest) -> None:
        """What a controller or a kubelet writes."""
        stored = self.get(kind, name)
        self.put({**stored, "status": status})

    def add_pod(self, attempt: int, index: int, status: Manifest, *, name: str = "demo") -> None:
        """A pod as the Job controller and the kubelet leave it."""
        pod_name = f"{name}-a{attempt}-{index}-x"
        owner = self.objects.get(("Job", "team", f"{name}-a{attempt}"), {}).get("metadata", {}).get("uid", "gone")
        metadata = {
            "name": pod_name,
            "namespace": "team",
            "uid": f"uid-{pod_name}",
            "labels": {JOB_NAME_LABEL: name, ATTEMPT_LABEL: str(attempt)},
            "annotations": {INDEX_ANNOTATION: str(index)},
            "ownerReferences": [{"kind": "Job", "uid": owner, "controller": True}],
        }
        self.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})

    def remove_pods(self, attempt: int) -> None:
        """The attempt's pods are gone."""
        label = str(attempt)
        gone = [
            key for key, item in self.objects.items()
            if key[0] == "Pod" and item["metadata"]["labels"][ATTEMPT_LABEL] == label
        ]  # fmt: skip
        for kind, _, name in gone:
            self.remove(kind, name)

    @contextmanager
    def failing(self, write: str, error: ApiError) -> Iterator[None]:
        """Have one kind of write fail for a while, as `apply Job`."""
        self._failures[write] = error
        yield
        del self._failures[write]

    async def find_sro_job(self, key: Key) -> Manifest | None:
        """See ClusterPort."""
        return copy.deepcopy(self.objects.get((KIND, key.namespace, key.name)))

    async def sro_jobs(self, namespaces: tuple[str, ...]) -> AsyncIterator[Manifest]:
        """See ClusterPort."""
        for (kind, namespace, _), manifest in self.objects.items():
            if kind == KIND and (not namespaces or namespace in namespaces):
                yield copy.deepcopy(manifest)

    async def study_jobs(self, namespace: str, study: str) -> list[Manifest]:
        """See StudyPort."""
        jobs = [item for (kind, place, _), item in self.objects.items() if (kind, place) == (KIND, namespace)]
        return [copy.deepcopy(job) for job in jobs if job["metadata"].get("labels", {}).get(STUDY_LABEL) == study]

    async def create_sro_job(self, manifest: Manifest) -> Manifest:
        """See StudyPort."""
        self._write("create SROJob", manifest["metadata"]["name"])
        if (KIND, *_place(manifest)) in self.objects:
            raise ApiError(409, "is there already")
        self.put(manifest)
        return manifest

    async def jobs_of(self, key: Key) -> list[Manifest]:
        """See ClusterPort."""
        self.reads.append("list Job")
        return self._labelled("Job", key)

    async def pods_of(self, key: Key) -> list[Manifest]:
        """See ClusterPort."""
        self.reads.append("list Pod")
        return self._labelled("Pod", key)

    async def find_job(self, key: Key) -> Manifest | None:
        """See ClusterPort."""
        self.reads.append("find Job")
        return copy.deepcopy(self.objects.get(("Job", key.namespace, key.name)))

    async def refusal_of_pods(self, key: Key) -> str:
        """See ClusterPort."""
        self.reads.append(f"list Event {key.name}")
        return self.refused_pods

    async def create(self, manifest: Manifest) -> Manifest:
        """See ClusterPort."""
        self._write(f"create {manifest['kind']}", manifest["metadata"]["name"])
        # As a request that is under way while the others of its group are sent.
        await asyncio.sleep(0)
        if (manifest["kind"], *_place(manifest)) in self.objects:
            raise ApiError(409, "already exists", reason="AlreadyExists")
        return self.put(manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        """See ClusterPort."""
        self._write(f"apply {manifest['kind']}", manifest["metadata"]["name"])
        await asyncio.sleep(0)
        return self.put(manifest)

    async def merge(self, manifest: Manifest) -> Manifest:
        """See ClusterPort."""
        self._write(f"merge {manifest['kind']}", manifest["metadata"]["name"])
        return self.put(_merged(self.objects[(manifest["kind"], *_place(manifest))], manifest))

    async def apply_status(self, key: Key, manifest: Manifest, status: Manifest) -> Manifest:
        """See ClusterPort."""
        self._write("apply status", key.name)
        stored = self.objects[(KIND, key.namespace, key.name)]
        read = manifest["metadata"]
        if (stored["metadata"]["uid"], stored["metadata"]["resourceVersion"]) != (read["uid"], read["resourceVersion"]):
            raise ApiError(409, "the object has been modified", reason="Conflict")
        progress = {name: value for name, value in stored.get("status", {}).items() if name == "progress"}
        return self.put({**stored, "status": {**status, **progress}})

    async def delete(
        self, place: Kind, key: Key, *, uid: str | None = None, resource_version: str | None = None
    ) -> Manifest | None:
        """See ClusterPort."""
        kind = place.kind
        self._write(f"delete {kind}", key.name)
        stored = self.objects.get((kind, key.namespace, key.name))
        if stored is None:
            return None
        metadata = stored["metadata"]
        if uid not in (None, metadata["uid"]) or resource_version not in (None, metadata["resourceVersion"]):
            raise ApiError(409, "precondition", reason="Conflict")
        self.remove(kind, key.name)
        return None

    async def create_event(self, event: Manifest) -> None:
        """See ClusterPort."""
        self._write("create event", event["reason"])
        self.events.append(event)

    async def close(self) -> None:
        """See ClusterPort."""

    def _write(self, what: str, name: str) -> None:
        self.writes.append(f"{what} {name}")
        if error := self._failures.get(what):
            raise error

    def _labelled(self, kind: str, key: Key) -> list[Manifest]:
        found = (item for entry, item in self.objects.items() if entry[:2] == (kind, key.namespace))
        return [
            copy.deepcopy(item) for item in found if item["metadata"].get("labels", {}).get(JOB_NAME_LABEL) == key.name
        ]


def _merged(base: Manifest, over: Manifest) -> Manifest:
    both = {**base, **over}
    return {
        key: _merged(base[key], over[key])
        if isinstance(base.get(key), dict) and isinstance(over.get(key), dict)
        else value
        for key, value in both.items()
    }


def _place(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]
