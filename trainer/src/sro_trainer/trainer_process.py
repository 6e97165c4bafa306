"""The trainer as a process of its own: started, asked to stop, waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

KILL_SECONDS = 300.0
"""How long a trainer may take to write its checkpoint once it was asked to stop for time's sake."""
TICK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """How a trainer is started."""

    config_file: Path
    log: IO[bytes] | None = None
    """Receives what it prints; ours if None."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set beside our own."""
    held: tuple[int, ...] = ()
    """File descriptors that it holds open for as long as it lives."""
    seconds: float | None = None
    """When they have passed it is asked to stop, as by a signal."""
    tick: Callable[[], None] = lambda: None
    """Called about every second while it runs."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How it ended."""

    code: int
    """As a shell tells it: 128 + n for a death by signal n."""
    timed_out: bool = False
    """Whether it was asked to stop because its time was over."""


class Stop:
    """Passes the first signal on to every trainer as SIGTERM and the second as SIGKILL."""

    def __init__(self) -> None:
        self.asked = 0
        # What each trainer was told: how many signals. A handler cannot wait for a lock that its own thread may hold, and one
        # operation on a dictionary is whole by itself.
        self._told: dict[subprocess.Popen[bytes], int] = {}

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.asked += 1
        for trainer in tuple(self._told):
            self._pass_on(trainer)

    def attach(self, trainer: subprocess.Popen[bytes]) -> None:
        """Name a process to stop; one that was asked for before is stopped at once."""
        self._told[trainer] = 0
        self._pass_on(trainer)

    def detach(self, trainer: subprocess.Popen[bytes]) -> None:
        """It has ended: its number may be another's by now."""
        self._told.pop(trainer, None)

    def _pass_on(self, trainer: subprocess.Popen[bytes]) -> None:
        if self._told.get(trainer, self.asked) >= self.asked:
            return
        self._told[trainer] = self.asked
        if self.asked == 1:
            # To the launcher alone, which tells its workers; a second SIGTERM could cut their checkpoint short.
            trainer.send_signal(signal.SIGTERM)
        else:
            with suppress(ProcessLookupError):
                os.killpg(trainer.pid, signal.SIGKILL)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM come to a `Stop` for a while.

    Before a trainer starts: a signal that came in between would end us and leave it running.
    """
    stop = Stop()
    earlier = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def train(order: Order, stop: Stop) -> Ending:
    """Run the trainer in a session of its own, so that Ctrl-C comes to us and reaches it as SIGTERM, which checkpoints."""
    command = [sys.executable, "-m", "sro_trainer", "--config", str(order.config_file)]
    trainer = subprocess.Popen(
        command,
        start_new_session=True,
        stdout=order.log,
        stderr=order.log,
        env={**os.environ, **order.environment},
        pass_fds=order.held,
    )
    stop.attach(trainer)
    try:
        code, timed_out = _wait(trainer, order)
    finally:
        stop.detach(trainer)
    return Ending(code=code if code >= 0 else 128 - code, timed_out=timed_out)


def _wait(trainer: subprocess.Popen[bytes], order: Order) -> tuple[int, bool]:
    deadline = float("inf") if order.seconds is None else time.monotonic() + order.seconds
    timed_out = False
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            if timed_out:
                os.killpg(trainer.pid, signal.SIGKILL)
                return trainer.wait(), True
            trainer.send_signal(signal.SIGTERM)
            timed_out, deadline = True, time.monotonic() + KILL_SECONDS
            continue
        try:
            return trainer.wait(min(TICK_SECONDS, left)), timed_out
        except subprocess.TimeoutExpired:
            order.tick()
