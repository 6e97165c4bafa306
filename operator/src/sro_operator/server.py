"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from sro_operator.settings import OperatorSettings

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Health(Protocol):
    """What the pages are made from."""

    def ailments(self) -> list[str]:
        """What a restart may cure; empty while all is well."""

    def hindrances(self) -> list[str]:
        """Why it is not ready; empty while it is."""

    def metrics_page(self) -> bytes:
        """The exposition text for Prometheus."""


async def serve(health: Health, settings: OperatorSettings) -> web.AppRunner:
    """Start the pages; `cleanup` of the runner stops them.

    Raises:
        OSError: the port is taken.
    """
    application = web.Application()
    application.router.add_get("/healthz", _page(health.ailments))
    application.router.add_get("/readyz", _page(health.hindrances))
    application.router.add_get("/metrics", _metrics(health))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.http_host, settings.http_port).start()
    return runner


def _page(troubles: Callable[[], list[str]]) -> _Handler:
    async def answer(_request: web.Request) -> web.Response:
        found = troubles()
        return web.Response(status=503 if found else 200, text="\n".join(found or ["ok"]) + "\n")

    return answer


def _metrics(health: Health) -> _Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=health.metrics_page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
