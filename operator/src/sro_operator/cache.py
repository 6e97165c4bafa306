"""What the watches have shown of every object: the newest version known of each, and nothing that a reconcile does not need.

Whatever arrives late, twice or out of order changes nothing: of two versions the newer counts, and what was deleted stays so.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from sro_api.base import Manifest
from sro_api.labels import JOB_NAME_LABEL, KIND
from sro_operator.keys import Key
from sro_operator.kinds import CHILDREN, GANG_GROUPS, POD_GROUP, SUPPORTS, kind_of
from sro_operator.observed import TrainerPod, trainer_pod

FOR_GOOD = 2**63
"""Later than any version: of an object that cannot come back."""
GRAVES = 20_000
"""Deleted objects that are remembered, so that a late event cannot raise them."""
_GROUPS = tuple(f"{POD_GROUP}.{group}" for group in GANG_GROUPS)
T = TypeVar("T")


@dataclass(frozen=True)
class _Entry(Generic[T]):
    version: int
    key: Key
    value: T


class ObjectCache(Generic[T]):
    """The objects of one kind."""

    def __init__(self, project: Callable[[Manifest], T], owner_of: Callable[[Manifest], Key]) -> None:
        """Empty.

        Args:
            project: what to keep of an object.
            owner_of: the SROJob that an object belongs to.
        """
        self._project = project
        self._owner_of = owner_of
        self._entries: dict[str, _Entry[T]] = {}
        self._by_job: dict[Key, set[str]] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._entries)

    def saw(self, manifest: Manifest) -> bool:
        """An object is so; whether that is news: a newer version that differs in what is kept of it."""
        metadata = manifest["metadata"]
        uid, version = metadata["uid"], int(metadata["resourceVersion"])
        before = self._entries.get(uid)
        if self._gone.get(uid, 0) >= version or (before is not None and before.version >= version):
            return False
        key = self._owner_of(manifest)
        if before is not None and before.key != key:
            self._forget(uid, before)
        entry = _Entry(version, key, self._project(manifest))
        self._entries[uid] = entry
        self._by_job.setdefault(key, set()).add(uid)
        return before is None or (before.key, before.value) != (entry.key, entry.value)

    def saw_gone(self, uid: str, version: int | None = None) -> bool:
        """An object was deleted, or is no longer one of ours; whether that is news.

        Args:
            uid: of the object.
            version: in which it went, for it may come back in a later one; None if no event told.
        """
        before = self._entries.get(uid)
        self._gone[uid] = version if version is not None else before.version if before is not None else 0
        if len(self._gone) > GRAVES:
            self._gone.popitem(last=False)
        if before is None or before.version > self._gone[uid]:
            return False
        self._forget(uid, before)
        return True

    def is_gone(self, uid: str, version: int) -> bool:
        """Whether an object is known to have gone in this version or a later one."""
        return self._gone.get(uid, -1) >= version

    def saw_page(self, manifests: Iterable[Manifest]) -> set[Key]:
        """A list says that these are there; the jobs for which that is news."""
        return {self._owner_of(manifest) for manifest in manifests if self.saw(manifest)}

    def lost(self, present: set[str], version: int, namespace: str | None = None) -> set[Key]:
        """A whole list says that there are no others.

        Args:
            present: uids of all that it showed.
            version: of the list: what is newer than it is not touched.
            namespace: that the list is of; the cluster if None.

        Returns:
            The jobs that lost an object.
        """
        gone = {
            uid: entry.key
            for uid, entry in self._entries.items()
            if uid not in present and entry.version <= version and namespace in (None, entry.key.namespace)
        }
        for uid in gone:
            self.saw_gone(uid)
        return set(gone.values())

    def of(self, key: Key) -> list[T]:
        """The objects of one job."""
        return [self._entries[uid].value for uid in self._by_job.get(key, ())]

    def key_of(self, uid: str) -> Key | None:
        """The job that an object belongs to; None if there is no such object."""
        entry = self._entries.get(uid)
        return entry.key if entry is not None else None

    def owners(self) -> Iterator[Key]:
        """Every job that has one."""
        return iter(list(self._by_job))

    def versions(self, namespace: str | None) -> dict[str, int]:
        """Version by uid, of a namespace or of all."""
        return {uid: entry.version for uid, entry in self._entries.items() if namespace in (None, entry.key.namespace)}

    def _forget(self, uid: str, entry: _Entry[T]) -> None:
        del self._entries[uid]
        uids = self._by_job[entry.key]
        uids.discard(uid)
        if not uids:
            del self._by_job[entry.key]


class Cache:
    """SROJobs and their children, as far as the watches have shown them."""

    def __init__(self) -> None:
        """Empty."""
        self.sro_jobs: ObjectCache[bytes] = ObjectCache(_packed, own_key)
        self.pods: ObjectCache[TrainerPod] = ObjectCache(trainer_pod, owner_key)
        names = [*(kind.name for kind in CHILDREN if kind.name != "Pod"), *_GROUPS]
        packed = {name: ObjectCache(_packed, owner_key) for name in names}
        self._packed: dict[str, ObjectCache[bytes]] = packed

    def of_kind(self, kind: str) -> ObjectCache[bytes] | ObjectCache[TrainerPod]:
        """The objects of a kind."""
        if kind == KIND:
            return self.sro_jobs
        return self.pods if kind == "Pod" else self._packed[kind]

    def saw(self, manifest: Manifest, kind: str | None = None) -> bool:
        """An object is so; whether that is news. One that carries no job's name is none of ours."""
        kind = kind or kind_of(manifest).name
        if kind != KIND and JOB_NAME_LABEL not in manifest["metadata"].get("labels", {}):
            return self.of_kind(kind).saw_gone(manifest["metadata"]["uid"], _version(manifest))
        return self.of_kind(kind).saw(manifest)

    def sro_job(self, key: Key) -> Manifest | None:
        """The SROJob; None if there is none."""
        found = self.sro_jobs.of(key)
        # Of two of one name the older is on its way out.
        return max((_unpacked(each) for each in found), key=_version, default=None)

    def jobs_of(self, key: Key) -> list[Manifest]:
        """The Jobs that carry its name."""
        return [_unpacked(each) for each in self._packed["Job"].of(key)]

    def pods_of(self, key: Key) -> list[TrainerPod]:
        """The pods that carry its name."""
        return self.pods.of(key)

    def supports_of(self, key: Key) -> dict[tuple[str, str], Manifest]:
        """Its supporting children, by kind and name."""
        names = [*(kind.name for kind in SUPPORTS), *_GROUPS]
        found = ((name, _unpacked(each)) for name in names for each in self._packed[name].of(key))
        return {(kind, manifest["metadata"]["name"]): manifest for kind, manifest in found}


def own_key(manifest: Manifest) -> Key:
    """Of an SROJob."""
    metadata = manifest["metadata"]
    return Key(namespace=metadata["namespace"], name=metadata["name"])


def owner_key(manifest: Manifest) -> Key:
    """Of a child, by its label."""
    metadata = manifest["metadata"]
    return Key(namespace=metadata["namespace"], name=metadata.get("labels", {}).get(JOB_NAME_LABEL, ""))


def _version(manifest: Manifest) -> int:
    return int(manifest["metadata"]["resourceVersion"])


def _packed(manifest: Manifest) -> bytes:
    """As text: a dictionary takes five times the room. Pod templates and the writers of each field are left out."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    spec = manifest.get("spec")
    kept = {**manifest, "metadata": metadata}
    if isinstance(spec, dict) and "template" in spec:
        kept["spec"] = {key: value for key, value in spec.items() if key not in ("template", "selector")}
    return json.dumps(kept, separators=(",", ":")).encode()


def _unpacked(data: bytes) -> Manifest:
    manifest: Manifest = json.loads(data)
    return manifest
