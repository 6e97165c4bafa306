"""A loopback HTTP proxy between operator and API server, which can be told to misbehave."""

from __future__ import annotations

import json
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PASSED_ON = ("Authorization", "Content-Type", "Accept")


class DroppedError(Exception):
    """The connection is to be broken without an answer."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request."""

    method: str
    path: str
    is_watch: bool

    @property
    def is_write(self) -> bool:
        """Whether it changes a job or a child; events are for show, leases for the election."""
        return self.method in WRITES and not self.path.endswith("/events") and "/leases" not in self.path


class Fault:
    """No fault; the base of all others."""

    async def before(self, seen: Seen) -> web.Response | None:  # noqa: ARG002 - for those that look
        """Called before a request is passed on; an answer in its place, if any."""
        return None

    async def after(self, seen: Seen) -> None:
        """Called when the API server has answered, before the operator learns of it."""

    def lines(self, line: bytes, path: str) -> list[bytes]:  # noqa: ARG002 - some faults look at it
        """What is passed on for one line of a watch of this path."""
        return [line]

    def is_silent(self) -> bool:
        """Whether watches pass nothing on now, and stay open."""
        return False


@dataclass(kw_only=True)
class Recorder(Fault):
    """Notes every write."""

    writes: list[str] = field(default_factory=list)

    async def before(self, seen: Seen) -> web.Response | None:
        if seen.is_write:
            self.writes.append(f"{seen.method} {seen.path}")
        return None


@dataclass(kw_only=True)
class CrashAt(Fault):
    """Kills the operator around its n-th write, counted from 0."""

    number: int
    is_after: bool
    kill: Callable[[], Awaitable[None]]
    count: int = 0
    has_struck: bool = False

    async def before(self, seen: Seen) -> web.Response | None:
        if not seen.is_write or self.has_struck:
            return None
        self.count += 1
        if self.count == self.number + 1 and not self.is_after:
            await self._strike()
        return None

    async def after(self, seen: Seen) -> None:
        if seen.is_write and self.is_after and not self.has_struck and self.count == self.number + 1:
            await self._strike()

    async def _strike(self) -> None:
        self.has_struck = True
        await self.kill()
        raise DroppedError


@dataclass(kw_only=True)
class Storm(Fault):
    """A share of the requests is answered by an error."""

    code: int
    share: float
    chance: random.Random

    async def before(self, seen: Seen) -> web.Response | None:
        is_meant = seen.is_write if self.code == 409 else not seen.is_watch
        if not is_meant or self.chance.random() >= self.share:
            return None
        reason = {409: "Conflict", 429: "TooManyRequests"}.get(self.code, "InternalError")
        headers = {"Retry-After": "1"} if self.code == 429 else {}
        body = {"kind": "Status", "code": self.code, "reason": reason, "message": "a storm"}
        return web.json_response(body, status=self.code, headers=headers)


@dataclass(kw_only=True)
class WatchFault(Fault):
    """Watches lose, double or swap events, end with 410, or fall silent while they stay open."""

    kind: str
    chance: random.Random
    share: float = 0.5
    held: dict[str, bytes] = field(default_factory=dict)
    """By what is watched: an event comes late, but never in another watch."""

    def lines(self, line: bytes, path: str) -> list[bytes]:
        struck = self.chance.random() < self.share
        if self.kind == "missed":
            return [] if struck else [line]
        if self.kind == "doubled":
            return [line, line] if struck else [line]
        if self.kind == "reordered":
            return self._swapped(line, struck, path)
        if self.kind == "410" and struck:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            return [json.dumps({"type": "ERROR", "object": gone}).encode()]
        return [line]

    def is_silent(self) -> bool:
        return self.kind == "frozen"

    def _swapped(self, line: bytes, struck: bool, path: str) -> list[bytes]:
        held = self.held.pop(path, None)
        if held is not None:
            return [line, held]
        if struck:
            self.held[path] = line
            return []
        return [line]


@dataclass(kw_only=True)
class StaleLists(Fault):
    """Every other list is answered as it was answered when first asked for."""

    first: dict[str, bytes] = field(default_factory=dict)
    asked: int = 0


@dataclass(kw_only=True)
class Partition(Fault):
    """After the n-th write nothing passes for some seconds."""

    number: int
    seconds: float
    count: int = 0
    until: float = 0.0

    async def before(self, seen: Seen) -> web.Response | None:
        if seen.is_write:
            self.count += 1
            if self.count == self.number + 1:
                self.until = time.monotonic() + self.seconds
        if self.is_silent():
            raise DroppedError
        return None

    def is_silent(self) -> bool:
        return time.monotonic() < self.until


class FaultProxy:
    """The proxy; `fault` may be changed at any time."""

    def __init__(self, target: str, trust: ssl.SSLContext) -> None:
        self._target = target
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.fault: Fault = Fault()
        self.url = ""
        self.leases = 0
        """Requests about leases."""

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        """Break every connection."""
        assert self._runner is not None
        assert self._session is not None
        await self._session.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parts = urlsplit(request.path_qs)
        seen = Seen(method=request.method, path=parts.path, is_watch="watch=" in parts.query)
        self.leases += "/leases" in parts.path
        body = await request.read()
        try:
            answer = await self.fault.before(seen)
            return answer if answer is not None else await self._forward(request, seen, body)
        except (DroppedError, aiohttp.ClientError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _forward(self, request: web.Request, seen: Seen, body: bytes) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        # The API server compresses a long list where it may, and the answer goes on without that header.
        headers["Accept-Encoding"] = "identity"
        url, timeout = self._target + request.path_qs, aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, timeout=timeout
        ) as answer:
            if seen.is_watch and answer.status == 200:
                return await self._stream(request, answer)
            content = await self._content(seen, request.path_qs, answer)
            await self.fault.after(seen)
            kept = {name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers}
            return web.Response(status=answer.status, body=content, headers=kept)

    async def _content(self, seen: Seen, path: str, answer: aiohttp.ClientResponse) -> bytes:
        content = await answer.read()
        fault = self.fault
        if isinstance(fault, StaleLists) and seen.method == "GET" and answer.status == 200 and "limit=" in path:
            fault.asked += 1
            first = fault.first.setdefault(path, content)
            return first if fault.asked % 2 else content
        return content

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        out = web.StreamResponse(headers={"Content-Type": "application/json"})
        await out.prepare(request)
        rest = b""
        async for data in answer.content.iter_any():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if self.fault.is_silent():
                    continue
                for passed in self.fault.lines(line, request.path):
                    await out.write(passed + b"\n")
        return out
