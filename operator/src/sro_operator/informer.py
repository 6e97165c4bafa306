"""Keeps the cache of one kind up to date: a list, then a watch from there, for ever. An audit finds out what the watch kept back."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from sro_api.base import Manifest
from sro_operator.cache import Cache
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.kinds import Kind

logger = logging.getLogger(__name__)

STREAM_SECONDS = 300
"""How long one watch request lasts; a little less for each, so that they do not all end at once."""
FAILURE_BASE_SECONDS = 0.5
FAILURE_LIMIT_SECONDS = 15.0
AUDIT_GRACE_SECONDS = 1.0
"""What a list shows, the watch may still have on its way for so long."""


class WatchPort(Protocol):
    """The part of a cluster that is read by lists and watches. Every method raises ApiError when its request fails."""

    def listed(
        self, kind: Kind, namespace: str | None, *, metadata_only: bool = False
    ) -> AsyncIterator[tuple[list[Manifest], int]]:
        """All objects, page by page, and the version of the whole list with each page."""

    def watch(self, kind: Kind, namespace: str | None, version: int, *, seconds: int) -> AsyncIterator[Manifest]:
        """Watch events after a version."""


class Informer:
    """One kind in one namespace, or in the cluster."""

    def __init__(
        self,
        cluster: WatchPort,
        cache: Cache,
        kind: Kind,
        namespace: str | None,
        on_change: Callable[[Kind, Manifest, bool], None],
        on_list: Callable[[set[Key]], None],
    ) -> None:
        """Build it; `run` begins.

        Args:
            cluster: to list and watch.
            cache: to keep.
            kind: of the objects.
            namespace: theirs; all if None.
            on_change: told of each object that changed, and whether it is gone.
            on_list: told of the jobs for which a list showed anything new.
        """
        self._cluster = cluster
        self._cache = cache
        self._kind = kind
        self._namespace = namespace
        self._on_change = on_change
        self._on_list = on_list
        self._version: int | None = None
        self._stream: asyncio.Future[None] | None = None
        self.is_synced = False
        """Whether a list has been had."""
        self.relists = 0
        """Lists after the first: versions that had expired, and what audits found."""

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        while True:
            self._stream = asyncio.ensure_future(self._go_on())
            try:
                await asyncio.wait({self._stream})
            finally:
                self._stream.cancel()
            if self._stream.cancelled():
                continue
            error = self._stream.exception()
            if error is None:
                failures = 0
                continue
            if not isinstance(error, ApiError):
                raise error
            if error.is_expired:
                self._version = None
            failures += 1
            pause = min(FAILURE_BASE_SECONDS * 2.0 ** (failures - 1), FAILURE_LIMIT_SECONDS)
            logger.info("watch broke off", extra={"kind": self._kind.name, "cause": str(error)})
            await asyncio.sleep(max(pause, error.retry_after_seconds or 0.0))

    async def audit(self) -> bool:
        """Compare a list with the cache; list anew, and watch from there, if the watch owes something. Whether it did."""
        listed, version = dict[str, int](), 0
        async for items, of_list in self._cluster.listed(self._kind, self._namespace, metadata_only=True):
            version = of_list
            listed |= {item["metadata"]["uid"]: int(item["metadata"]["resourceVersion"]) for item in items}
        if not self._owed(listed, version):
            return False
        await asyncio.sleep(AUDIT_GRACE_SECONDS)
        owed = self._owed(listed, version)
        if not owed or self._stream is None:
            return False
        logger.warning("the watch had missed changes", extra={"kind": self._kind.name, "objects": len(owed)})
        self._version = None
        self._stream.cancel()
        return True

    def _owed(self, listed: dict[str, int], version: int) -> set[str]:
        cached = self._cache.of_kind(self._kind.name)
        known = cached.versions(self._namespace)
        late = {uid for uid, at in listed.items() if known.get(uid, 0) < at and not cached.is_gone(uid, at)}
        return late | {uid for uid, at in known.items() if uid not in listed and at <= version}

    async def _go_on(self) -> None:
        if self._version is None:
            await self._list()
        assert self._version is not None
        seconds = STREAM_SECONDS - random.randrange(STREAM_SECONDS // 5)
        async for event in self._cluster.watch(self._kind, self._namespace, self._version, seconds=seconds):
            self._take(event)

    async def _list(self) -> None:
        cached, present, version = self._cache.of_kind(self._kind.name), set[str](), 0
        async for items, of_list in self._cluster.listed(self._kind, self._namespace):
            version = of_list
            present |= {item["metadata"]["uid"] for item in items}
            # A list that breaks off has still shown what it has shown.
            self._on_list(cached.saw_page(items))
        gone = cached.lost(present, version, self._namespace)
        self.relists += self.is_synced
        self._version = version
        self.is_synced = True
        self._on_list(gone)

    def _take(self, event: Manifest) -> None:
        manifest = event["object"]
        if event["type"] == "ERROR":
            raise ApiError(int(manifest.get("code", 0)), str(manifest.get("message", "")))
        self._version = max(self._version or 0, int(manifest["metadata"]["resourceVersion"]))
        if event["type"] == "BOOKMARK":
            return
        is_gone = event["type"] == "DELETED"
        if is_gone:
            metadata = manifest["metadata"]
            news = self._cache.of_kind(self._kind.name).saw_gone(metadata["uid"], int(metadata["resourceVersion"]))
        else:
            news = self._cache.saw(manifest, self._kind.name)
        if news:
            self._on_change(self._kind, manifest, is_gone)
