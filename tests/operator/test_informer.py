"""Lists and watches in virtual time, against streams that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sro_api.base import Manifest
from sro_api.labels import JOB_NAME_LABEL
from sro_operator.cache import Cache
from sro_operator.errors import ApiError
from sro_operator.informer import Informer
from sro_operator.keys import Key
from sro_operator.kinds import JOB, Kind
from virtual_time import VirtualTimeLoop

KEY = Key(namespace="team", name="demo")


def job(version: int, uid: str = "u") -> Manifest:
    labels = {JOB_NAME_LABEL: "demo"}
    metadata = {"name": uid, "namespace": "team", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}


def bookmark(version: int) -> Manifest:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


class Server:
    """Objects, an error among them being where a list breaks off, and what each watch in turn delivers; the last one stays open."""

    def __init__(self, objects: list[Any], version: int, streams: list[list[Any]]) -> None:
        self.objects, self.version, self.streams = objects, version, streams
        self.lists = 0
        self.watched_from: list[int] = []

    async def listed(
        self, kind: Kind, namespace: str | None, *, metadata_only: bool = False
    ) -> AsyncIterator[tuple[list[Manifest], int]]:
        """See WatchPort. Every object is a page."""
        assert (kind, namespace) == (JOB, None)
        self.lists += not metadata_only
        for each in list(self.objects) or [None]:
            if isinstance(each, ApiError):
                self.objects.remove(each)
                raise each
            yield [each] if each is not None else [], self.version

    async def watch(self, kind: Kind, namespace: str | None, version: int, *, seconds: int) -> AsyncIterator[Manifest]:
        """See WatchPort."""
        assert (kind, namespace) == (JOB, None)
        assert seconds > 0
        self.watched_from.append(version)
        for event in self.streams.pop(0) if self.streams else ():
            if isinstance(event, ApiError):
                raise event
            yield event
        if not self.streams:
            await asyncio.Event().wait()


class Played:
    """An informer that has run, and what it told."""

    def __init__(self, server: Server, script: Callable[[Informer], Awaitable[None]] | None = None) -> None:
        self.server, self.cache = server, Cache()
        self.told: list[tuple[str, bool]] = []
        self.listed: list[set[Key]] = []
        self.informer = Informer(server, self.cache, JOB, None, self._tell, self.listed.append)
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(self._play(script))

    def _tell(self, kind: Kind, manifest: Manifest, is_gone: bool) -> None:
        assert kind == JOB
        self.told.append((manifest["metadata"]["resourceVersion"], is_gone))

    async def _play(self, script: Callable[[Informer], Awaitable[None]] | None) -> None:
        task = asyncio.create_task(self.informer.run())
        await asyncio.sleep(60)
        if script is not None:
            await script(self.informer)
            await asyncio.sleep(60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @property
    def versions(self) -> list[int]:
        return sorted(int(each["metadata"]["resourceVersion"]) for each in self.cache.jobs_of(KEY))


def test_a_list_fills_the_cache_and_a_watch_goes_on_from_it() -> None:
    played = Played(Server([job(3)], 5, [[{"type": "MODIFIED", "object": job(7)}]]))
    assert played.versions == [7]
    assert (played.listed, played.told, played.server.watched_from) == ([{KEY}, set()], [("7", False)], [5])


def test_a_list_is_taken_page_by_page_and_only_its_end_tells_what_is_gone() -> None:
    async def script(informer: Informer) -> None:
        server.objects, server.version = [job(3, "a"), job(8, "c")], 9
        assert await informer.audit()

    server = Server([job(3, "a"), job(4, "b")], 5, [[]])
    played = Played(server, script)
    assert played.listed == [{KEY}, {KEY}, set(), set(), {KEY}, {KEY}]
    assert played.versions == [3, 8]


def test_what_a_list_showed_before_it_broke_off_is_kept_and_told() -> None:
    played = Played(Server([job(3, "a"), ApiError(410, "the list has expired"), job(4, "b")], 5, [[]]))
    assert played.listed == [{KEY}, set(), {KEY}, set()]
    assert (played.versions, played.server.lists) == ([3, 4], 2)


def test_a_watch_that_ends_is_followed_by_another_from_where_it_was() -> None:
    played = Played(Server([], 5, [[{"type": "ADDED", "object": job(7)}, bookmark(9)], []]))
    assert played.server.watched_from == [5, 9]
    assert played.server.lists == 1


def test_a_watch_that_broke_off_goes_on_from_where_it_was() -> None:
    played = Played(Server([], 5, [[{"type": "ADDED", "object": job(7)}, ApiError(0, "reset")], []]))
    assert (played.server.watched_from, played.server.lists) == ([5, 7], 1)


def test_a_version_that_has_expired_means_a_new_list() -> None:
    error = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
    played = Played(Server([job(3)], 5, [[error], []]))
    assert (played.server.lists, played.informer.relists) == (2, 1)


def test_a_deletion_is_told_once() -> None:
    gone = {"type": "DELETED", "object": job(8)}
    played = Played(Server([job(3)], 5, [[gone, gone, {"type": "MODIFIED", "object": job(7)}]]))
    assert (played.versions, played.told) == ([], [("8", True)])


def test_an_audit_finds_what_a_watch_kept_back_and_lists_anew() -> None:
    server = Server([job(3), job(3, "old")], 5, [[]])

    async def script(informer: Informer) -> None:
        server.objects, server.version = [job(9), job(8, "new")], 10
        assert await informer.audit()

    played = Played(server, script)
    assert played.versions == [8, 9]
    assert (server.lists, server.watched_from) == (2, [5, 10])


def test_an_audit_that_finds_nothing_lists_nothing() -> None:
    server = Server([job(3)], 5, [[]])

    async def script(informer: Informer) -> None:
        assert not await informer.audit()

    Played(server, script)
    assert server.lists == 1


def test_what_arrives_while_an_audit_waits_was_only_late() -> None:
    server = Server([job(3)], 5, [[]])

    async def script(informer: Informer) -> None:
        server.objects = [job(9)]
        asyncio.get_running_loop().call_later(0.5, informer._take, {"type": "MODIFIED", "object": job(9)})
        assert not await informer.audit()

    Played(server, script)
    assert server.lists == 1
