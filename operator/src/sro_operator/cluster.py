"""The only module that speaks to the API server, through the official client's `kubernetes.aio`."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client

from sro_api.base import Manifest
from sro_api.labels import API_VERSION, JOB_NAME_LABEL, KIND, OPERATOR_FIELD_MANAGER, PLURAL, STUDY_LABEL
from sro_operator.errors import ApiError, NotLeaderError
from sro_operator.insisting import insisted
from sro_operator.keys import Key
from sro_operator.kinds import EVENT, JOB, LEASE, POD, SRO_JOB, Kind, kind_of
from sro_operator.kubeconfig import find_cluster
from sro_operator.transport import JSON, RequestObserver, Transport
from sro_operator.wire import lines_of

REQUEST_SECONDS = 30.0
"""A request that takes longer has failed: it must not hold a worker."""
LEASE_SECONDS = 3.0
"""The same for a Lease, which is renewed more often than that."""
SILENCE_SECONDS = 90.0
"""A watch that says nothing for longer, not even a bookmark, is dead: the API server sends one a minute."""
PAGE = 250
"""Objects per page of a list: a page of pods takes some 15 MiB while it is read, and no list is held as a whole."""
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/strategic-merge-patch+json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def _for_ever() -> float:
    return math.inf


def _ignore(_verb: str, _resource: str, _status: int) -> None:
    """Count nothing."""


class Cluster:
    """One API server. Every method raises ApiError when its request fails, and nothing else."""

    def __init__(self, api: client.ApiClient, on_request: RequestObserver = _ignore) -> None:
        """Use a configured client."""
        self._transport = Transport(api, on_request)
        self.seconds_to_write: Callable[[], float] = _for_ever
        """How long this process may still write; asked before each write."""

    @property
    def answer_seconds(self) -> float:
        """How long the API server has lately taken to answer."""
        return self._transport.answer_seconds

    @classmethod
    async def connect(cls, on_request: RequestObserver = _ignore) -> Self:
        """Enter the cluster that `find_cluster` finds.

        Raises:
            ConfigError: there is none to be found.
        """
        return cls(client.ApiClient(await find_cluster()), on_request)

    async def __aenter__(self) -> Self:
        """Leave it open for a while."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._transport.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def get_sro_job(self, key: Key) -> Manifest | None:
        """The SROJob; None if there is none."""
        return await self._get(SRO_JOB, key)

    async def find_sro_job(self, key: Key) -> Manifest | None:
        """The same by way of a list, so that the operator needs no right to get."""
        return await self._named(SRO_JOB, key)

    async def find_job(self, key: Key) -> Manifest | None:
        """The Job of this name, whatever labels it carries; None if there is none."""
        return await self._named(JOB, key)

    async def sro_jobs(self, namespaces: tuple[str, ...]) -> AsyncIterator[Manifest]:
        """Every SROJob of these namespaces, or of the whole cluster."""
        for namespace in namespaces or (None,):
            async for manifest in self._items(SRO_JOB, namespace, {}):
                yield manifest

    async def study_jobs(self, namespace: str, study: str) -> list[Manifest]:
        """The SROJobs that are cells of a study."""
        query = {"labelSelector": f"{STUDY_LABEL}={study}"}
        return [item async for item in self._items(SRO_JOB, namespace, query)]

    async def create_sro_job(self, manifest: Manifest) -> Manifest:
        """Create an SROJob as its user would; a conflict (409) if one of its name is there."""
        return await self._call("POST", PLURAL, SRO_JOB.collection(manifest["metadata"]["namespace"]), body=manifest)

    async def jobs_of(self, key: Key) -> list[Manifest]:
        """The Jobs that carry this SROJob's name."""
        return [item async for item in self._items(JOB, key.namespace, _labelled(key))]

    async def pods_of(self, key: Key) -> list[Manifest]:
        """The pods that carry this SROJob's name."""
        return [item async for item in self._items(POD, key.namespace, _labelled(key))]

    async def listed(
        self, kind: Kind, namespace: str | None, *, metadata_only: bool = False
    ) -> AsyncIterator[tuple[list[Manifest], int]]:
        """All our objects of a kind, in a namespace or in the cluster, page by page, and the version of the whole list."""
        query = {"labelSelector": kind.selector} if kind.selector else {}
        version = 0
        async for page in self._pages(kind, namespace, query, accept=_METADATA if metadata_only else JSON):
            # Further pages are of the first one's version.
            version = version or int(page["metadata"]["resourceVersion"])
            yield page.get("items") or [], version

    async def watch(self, kind: Kind, namespace: str | None, version: int, *, seconds: int) -> AsyncIterator[Manifest]:
        """What changes after a version, as watch events, bookmarks too, until the API server ends the stream.

        Args:
            kind: of the objects.
            namespace: theirs; all if None.
            version: to go on from.
            seconds: when the API server is to end it.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(version),
            "timeoutSeconds": str(seconds),
        }
        if kind.selector:
            query["labelSelector"] = kind.selector
        path = f"{kind.collection(namespace)}?{urlencode(query)}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=SILENCE_SECONDS)
        response = await self._transport.send("GET", f"{kind.plural}/watch", path, timeout=timeout)
        try:
            async for line in lines_of(response.content):
                yield json.loads(line)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise ApiError(0, f"the watch of {kind.plural} broke off: {error or type(error).__name__}") from error
        finally:
            response.close()

    async def served(self, path: str = "") -> Manifest:
        """What the API server says that it serves: its API groups, or under `GROUP/VERSION` the resources of one."""
        return await self._call("GET", "apis", f"/apis/{path}".rstrip("/"))

    async def refusal_of_pods(self, key: Key) -> str:
        """What the Job controller was last told when it was not let make a Job's pods; empty if it was."""
        selector = f"involvedObject.kind=Job,involvedObject.name={key.name},reason=FailedCreate"
        found = [item async for item in self._items(EVENT, key.namespace, {"fieldSelector": selector})]
        newest = max(found, key=lambda event: str(event.get("lastTimestamp") or ""), default=None)
        return str(newest.get("message", "")) if newest is not None else ""

    async def create(self, manifest: Manifest) -> Manifest:
        """Make an object; a field that its type does not have is an error, as in an apply, and not dropped."""
        kind = kind_of(manifest)
        query = urlencode({"fieldManager": OPERATOR_FIELD_MANAGER, "fieldValidation": "Strict"})
        path = f"{kind.collection(manifest['metadata']['namespace'])}?{query}"
        return await self._write("POST", kind.plural, path, body=manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply: what we owned and no longer name goes, what others own stays, unless we name it too."""
        return await self._patch(manifest, _APPLY, {"force": "true"})

    async def merge(self, manifest: Manifest) -> Manifest:
        """Strategic merge patch: what is not named stays."""
        return await self._patch(manifest, _MERGE, {})

    async def apply_status(self, key: Key, manifest: Manifest, status: Manifest) -> Manifest:
        """Write the operator's whole part of the status; a conflict if the job changed since it was read."""
        read = manifest["metadata"]
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "uid": read["uid"],
                "resourceVersion": read["resourceVersion"],
            },
            "status": status,
        }
        query = urlencode({"fieldManager": OPERATOR_FIELD_MANAGER, "force": "true"})
        path = f"{SRO_JOB.path(key.namespace, key.name)}/status?{query}"
        return await self._write("PATCH", f"{PLURAL}/status", path, body=body, content_type=_APPLY)

    async def delete(
        self, kind: Kind, key: Key, *, uid: str | None = None, resource_version: str | None = None
    ) -> Manifest | None:
        """Delete one object and, in the background, its children; no error if it is gone.

        Args:
            kind: of the object.
            key: its namespace and name.
            uid: delete this very object or none.
            resource_version: delete it in this state or not at all (409).

        Returns:
            The object as it is while it waits for its finalizers; None if it is gone.
        """
        wanted = {"uid": uid, "resourceVersion": resource_version}
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {name: value for name, value in wanted.items() if value},
        }
        try:
            rest = await self._write("DELETE", kind.plural, kind.path(key.namespace, key.name), body=body)
        except ApiError as error:
            if not error.is_not_found:
                raise
            return None
        return rest if rest.get("kind") == kind.kind and rest["metadata"].get("deletionTimestamp") else None

    async def create_event(self, event: Manifest) -> None:
        """Write an event; no error if one of its name is there, for then it was written before."""
        try:
            await self.create(event)
        except ApiError as error:
            if not error.is_conflict:
                raise

    async def get_lease(self, key: Key) -> Manifest | None:
        """A Lease; None if there is none."""
        return await self._get(LEASE, key, LEASE_SECONDS)

    async def put_lease(self, lease: Manifest, *, is_new: bool) -> Manifest:
        """Make a Lease, or replace it in the version that was read; a conflict if somebody was quicker."""
        metadata = lease["metadata"]
        collection = LEASE.collection(metadata["namespace"])
        method, path = ("POST", collection) if is_new else ("PUT", f"{collection}/{metadata['name']}")
        return await self._call(method, LEASE.plural, path, body=lease, seconds=LEASE_SECONDS)

    async def pod_phase(self, key: Key) -> str:
        """The phase of one pod."""
        pod = await self._call("GET", "pods", POD.path(key.namespace, key.name))
        return str(pod.get("status", {}).get("phase", "Pending"))

    async def logs(self, key: Key, *, follow: bool, last_lines: int | None = None) -> AsyncIterator[str]:
        """The log of one pod's trainer container, line by line.

        Args:
            key: the pod's namespace and name.
            follow: go on until the container ends.
            last_lines: start with this many last lines; all if None.
        """
        query = {"container": "trainer", "follow": str(follow).lower()}
        if last_lines is not None:
            query["tailLines"] = str(last_lines)
        path = f"{POD.path(key.namespace, key.name)}/log?{urlencode(query)}"
        response = await self._transport.send("GET", "pods/log", path, timeout=aiohttp.ClientTimeout(total=None))
        try:
            async for line in response.content:
                yield line.decode("utf-8", errors="replace").rstrip("\n")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiError(0, f"the log of {key.name} broke off: {error or type(error).__name__}") from error

    async def _get(self, kind: Kind, key: Key, seconds: float = REQUEST_SECONDS) -> Manifest | None:
        try:
            return await self._call("GET", kind.plural, kind.path(key.namespace, key.name), seconds=seconds)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def _named(self, kind: Kind, key: Key) -> Manifest | None:
        query = {"fieldSelector": f"metadata.name={key.name}"}
        found = [item async for item in self._items(kind, key.namespace, query)]
        # The items of a list do not say what they are.
        return {"apiVersion": kind.api_version, "kind": kind.kind, **found[0]} if found else None

    async def _patch(self, manifest: Manifest, content_type: str, query: dict[str, str]) -> Manifest:
        kind, metadata = kind_of(manifest), manifest["metadata"]
        asked = urlencode({"fieldManager": OPERATOR_FIELD_MANAGER, **query})
        path = f"{kind.path(metadata['namespace'], metadata['name'])}?{asked}"
        return await self._write("PATCH", kind.plural, path, body=manifest, content_type=content_type)

    async def _items(self, kind: Kind, namespace: str | None, query: dict[str, str]) -> AsyncIterator[Manifest]:
        async for page in self._pages(kind, namespace, query):
            for item in page.get("items") or ():
                yield item

    async def _pages(
        self, kind: Kind, namespace: str | None, query: dict[str, str], accept: str = JSON
    ) -> AsyncIterator[Manifest]:
        token = ""
        while True:
            asked = {**query, "limit": str(PAGE), **({"continue": token} if token else {})}
            path = f"{kind.collection(namespace)}?{urlencode(asked)}"
            page = await self._call("GET", kind.plural, path, accept=accept)
            yield page
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return

    async def _write(self, method: str, resource: str, path: str, body: Manifest, content_type: str = JSON) -> Manifest:
        """A write is begun only while this process may write, and given up when it no longer may.

        It may be tried again, for it says what it is to find: a name that is free, a version, a uid. Was it done the first time,
        that shows as a conflict, which the callers know what to do about.
        """

        async def written() -> Manifest:
            seconds = min(REQUEST_SECONDS, self.seconds_to_write())
            if seconds <= 0:
                raise NotLeaderError
            return await self._transport.answer(
                method, resource, path, body=body, content_type=content_type, seconds=seconds
            )

        return await insisted(written)

    async def _call(
        self, method: str, resource: str, path: str, *, body: Manifest | None = None, accept: str = JSON,
        seconds: float = REQUEST_SECONDS,
    ) -> Manifest:  # fmt: skip
        """A read, which may be tried again, or a request that may not."""
        asked = partial(self._transport.answer, method, resource, path, body=body, accept=accept, seconds=seconds)
        return await (insisted(asked) if method == "GET" and resource != LEASE.plural else asked())


def _labelled(key: Key) -> dict[str, str]:
    return {"labelSelector": f"{JOB_NAME_LABEL}={key.name}"}
