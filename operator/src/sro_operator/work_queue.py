"""Keys that want a look: coalesced, each handled by one worker at a time, with a pause of its own after each failure.

Namespaces take turns, so that a thousand jobs of one team do not keep another team's single job waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from sro_operator.errors import ApiError
from sro_operator.keys import Key

logger = logging.getLogger(__name__)

FAILURE_BASE_SECONDS = 0.5
FAILURE_LIMIT_SECONDS = 30.0
LATE, LATEST = 2, 3
"""Lateness of a key that can wait until no namespace has one that is less late."""

Handler = Callable[[Key], Awaitable[float | None]]
"""Looks at one key; returns the seconds after which to look again though nothing happens."""


_Turns = OrderedDict[str, tuple[dict[Key, None], dict[Key, None]]]
"""Namespaces in the order of their turns, and the keys of each in theirs, the less late apart."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One look at one key."""

    key: Key
    seconds: float
    waited_seconds: float
    error: BaseException | None


class _FairQueue:
    """Keys by namespace; each namespace gives one in its turn, the least late of its own. Late ones come when no namespace has others."""

    def __init__(self) -> None:
        self._turns: tuple[_Turns, _Turns] = (OrderedDict(), OrderedDict())
        """Of those that are not late, and of those that are."""
        self._count = asyncio.Semaphore(0)

    def put(self, key: Key, lateness: int) -> None:
        self._add(key, lateness)
        self._count.release()

    def hasten(self, key: Key, lateness: int) -> None:
        """Let a key be no later than this, if it is."""
        for later in range(lateness + 1, LATEST + 1):
            turns, place = self._turns[later // LATE], later % LATE
            if key.namespace in turns and key in turns[key.namespace][place]:
                self._take(turns, key)
                self._add(key, lateness)

    async def get(self) -> Key:
        await self._count.acquire()
        turns = self._turns[0] or self._turns[1]
        namespace, (first, second) = next(iter(turns.items()))
        self._take(turns, key := next(iter(first or second)))
        if namespace in turns:
            turns.move_to_end(namespace)
        return key

    def _add(self, key: Key, lateness: int) -> None:
        self._turns[lateness // LATE].setdefault(key.namespace, ({}, {}))[lateness % LATE][key] = None

    @staticmethod
    def _take(turns: _Turns, key: Key) -> None:
        places = turns[key.namespace]
        for keys in places:
            keys.pop(key, None)
        if not any(places):
            del turns[key.namespace]


class WorkQueue:
    """A level-triggered queue: waking a key often means looking at it once, at what is the case by then."""

    def __init__(self, handler: Handler, concurrency: int, on_outcome: Callable[[Outcome], None]) -> None:
        """Build it idle; `run` starts the workers."""
        self._handler = handler
        self._concurrency = concurrency
        self._on_outcome = on_outcome
        self._ready = _FairQueue()
        self._waiting: dict[Key, float] = {}
        """Since when each waits; in the order of waiting."""
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._begun: dict[Key, float] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting)

    @property
    def is_quiet(self) -> bool:
        """Whether no key waits for a worker, and no more than one is being looked at."""
        return self._quiet.is_set()

    async def until_quiet(self, seconds: float) -> None:
        """Wait until it is quiet, at most so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._quiet.wait()

    def wake(self, key: Key, *, after_seconds: float = 0.0, lateness: int = 0) -> None:
        """Have a key looked at; of several times asked for, the earliest counts.

        Args:
            key: the key.
            after_seconds: not before; at once if 0.
            lateness: 0, or up to LATEST for one that comes after the less late of its namespace, and from LATE on of all,
                unless it is woken otherwise meanwhile.
        """
        if after_seconds <= 0:
            self._enqueue(key, lateness)
            return
        loop = asyncio.get_running_loop()
        due, timer = loop.time() + after_seconds, self._timers.get(key)
        if timer is not None and timer.when() <= due:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._enqueue, key, lateness)

    def forget(self, key: Key) -> None:
        """Drop what is kept about a key that is gone."""
        self._failures.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def longest_seconds(self) -> float:
        """How long the slowest look in progress has taken so far."""
        now = asyncio.get_running_loop().time()
        return max((now - begun for begun in self._begun.values()), default=0.0)

    def oldest_seconds(self) -> float:
        """How long the key that has waited longest for a worker has waited."""
        first = next(iter(self._waiting.values()), None)
        return 0.0 if first is None else asyncio.get_running_loop().time() - first

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._concurrency):
                workers.create_task(self._work())

    def _enqueue(self, key: Key, lateness: int = 0) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._begun:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = _now()
            self._note_load()
            self._ready.put(key, lateness)
        else:
            self._ready.hasten(key, lateness)

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            since = self._waiting.pop(key)
            await self._look(key, _now() - since)

    async def _look(self, key: Key, waited: float) -> None:
        loop = asyncio.get_running_loop()
        self._begun[key] = loop.time()
        self._note_load()
        # A task of its own: whatever is raised stays with this key, and the worker lives on.
        task = asyncio.ensure_future(self._handler(key))
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            begun = self._begun.pop(key)
            self._note_load()
        error = task.exception()
        self._on_outcome(Outcome(key=key, seconds=loop.time() - begun, waited_seconds=waited, error=error))
        if error is not None:
            # A failed key keeps its pause, or a stream of events would turn it into a busy loop.
            self._again.discard(key)
            self.wake(key, after_seconds=self._pause(key, error))
            return
        self._failures.pop(key, None)
        if (recheck := task.result()) is not None:
            self.wake(key, after_seconds=recheck)
        if key in self._again:
            self._again.discard(key)
            self.wake(key)

    def _note_load(self) -> None:
        if self._waiting or len(self._begun) > 1:
            self._quiet.clear()
        else:
            self._quiet.set()

    def _pause(self, key: Key, error: BaseException) -> float:
        # Where every other request fails, a look of many writes never ends well: as long as it gets further, it need not wait longer.
        has_progressed = isinstance(error, ApiError) and error.has_progressed
        failures = 0 if has_progressed else self._failures.get(key, 0)
        self._failures[key] = failures + 1
        asked = error.retry_after_seconds if isinstance(error, ApiError) else None
        pause = min(FAILURE_BASE_SECONDS * 2.0**failures, FAILURE_LIMIT_SECONDS)
        return max(pause, asked or 0.0)


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        # A test may fill a queue before any loop runs.
        return 0.0
