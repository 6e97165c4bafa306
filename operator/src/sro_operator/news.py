"""Events that wait while there is more urgent work: what counts is in the status, and an event is told once and for show."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from sro_api.base import Manifest
from sro_operator.errors import ApiError, NotLeaderError

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 120.0
"""An event waits no longer, however much there is to do."""
MOST_KEPT = 5_000
"""Further ones are written at once."""

Write = Callable[[Manifest], Awaitable[None]]


async def told(write: Write, event: Manifest) -> None:
    """Write one event; one that the API server does not take, or that this process may no longer write, is lost, and the log says so."""
    try:
        await write(event)
    except (ApiError, NotLeaderError) as error:
        about = event["involvedObject"]
        fields = {"job": about["name"], "namespace": about["namespace"], "reason": event["reason"], "cause": str(error)}
        logger.warning("event lost", extra=fields)


class NewsDesk:
    """Writes events: at once where there is little else to do, else when there is, in the order in which they came."""

    def __init__(
        self, write: Write, until_quiet: Callable[[float], Awaitable[None]], is_quiet: Callable[[], bool]
    ) -> None:
        """Build it idle.

        Args:
            write: creates one event.
            until_quiet: returns when there is little to do, or after so many seconds.
            is_quiet: whether there is little to do.
        """
        self._write = write
        self._until_quiet = until_quiet
        self._is_quiet = is_quiet
        self._kept: deque[tuple[float, Manifest]] = deque()
        self._is_there = asyncio.Event()

    def __len__(self) -> int:
        """Events that wait."""
        return len(self._kept)

    async def tell(self, event: Manifest) -> None:
        """Write an event, now or later."""
        if len(self._kept) >= MOST_KEPT or (not self._kept and self._is_quiet()):
            await told(self._write, event)
            return
        self._kept.append((asyncio.get_running_loop().time(), event))
        self._is_there.set()

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            await self._is_there.wait()
            self._is_there.clear()
            while self._kept:
                since, _ = self._kept[0]
                await self._until_quiet(since + PATIENCE_SECONDS - asyncio.get_running_loop().time())
                await self._write_first()

    async def flush(self, seconds: float) -> None:
        """Write what waits, as far as it can be done in so many seconds; drop the rest."""
        try:
            async with asyncio.timeout(seconds):
                while self._kept:
                    await self._write_first()
        except TimeoutError:
            logger.warning("events lost", extra={"events": len(self._kept)})
        self.drop()

    def drop(self) -> None:
        """Forget what waits, as when another process leads."""
        self._kept.clear()

    async def _write_first(self) -> None:
        # Taken off first: it may be dropped while it is being written.
        if self._kept:
            _, event = self._kept.popleft()
            await told(self._write, event)
