"""When events are written, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sro_api.base import Manifest
from sro_operator.errors import ApiError, NotLeaderError
from sro_operator.news import MOST_KEPT, PATIENCE_SECONDS, NewsDesk
from virtual_time import VirtualTimeLoop


class Desk:
    """A desk, whether there is other work, and what was written when."""

    def __init__(self) -> None:
        self.quiet = asyncio.Event()
        self.written: list[tuple[float, str]] = []
        self.errors: list[Exception] = []
        self.desk = NewsDesk(self.write, self.until_quiet, self.quiet.is_set)

    async def write(self, event: Manifest) -> None:
        if self.errors:
            raise self.errors.pop()
        await asyncio.sleep(1)
        self.written.append((asyncio.get_running_loop().time(), event["reason"]))

    async def until_quiet(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.quiet.wait(), max(0.0, seconds))
        except TimeoutError:
            return


def played(script: Callable[[Desk], Awaitable[None]]) -> list[tuple[float, str]]:
    async def main() -> list[tuple[float, str]]:
        desk = Desk()
        task = asyncio.create_task(desk.desk.run())
        await script(desk)
        task.cancel()
        return desk.written

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def event(reason: str) -> Manifest:
    return {"reason": reason, "involvedObject": {"name": "demo", "namespace": "team"}}


def test_where_nothing_waits_an_event_is_written_at_once() -> None:
    async def script(desk: Desk) -> None:
        desk.quiet.set()
        await desk.desk.tell(event("a"))
        assert desk.written == [(1, "a")]

    played(script)


def test_behind_other_work_events_wait_for_its_end_and_keep_their_order() -> None:
    async def script(desk: Desk) -> None:
        await desk.desk.tell(event("a"))
        await desk.desk.tell(event("b"))
        await asyncio.sleep(10)
        assert (desk.written, len(desk.desk)) == ([], 2)
        desk.quiet.set()
        # It comes after those that wait, though nothing else is to be done now.
        await desk.desk.tell(event("c"))
        await asyncio.sleep(10)

    assert played(script) == [(11, "a"), (12, "b"), (13, "c")]


def test_an_event_does_not_wait_for_ever() -> None:
    async def script(desk: Desk) -> None:
        await desk.desk.tell(event("a"))
        await asyncio.sleep(50)
        await desk.desk.tell(event("b"))
        await asyncio.sleep(PATIENCE_SECONDS)

    assert played(script) == [(PATIENCE_SECONDS + 1, "a")]


def test_what_there_is_no_room_for_is_written_at_once() -> None:
    async def script(desk: Desk) -> None:
        for number in range(MOST_KEPT):
            await desk.desk.tell(event(str(number)))
        await desk.desk.tell(event("one more"))

    assert played(script) == [(1, "one more")]


def test_a_process_that_ends_writes_what_it_can() -> None:
    async def script(desk: Desk) -> None:
        for reason in "abc":
            await desk.desk.tell(event(reason))
        await desk.desk.flush(2.5)
        assert len(desk.desk) == 0

    assert played(script) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("error", [ApiError(403, "the namespace is being deleted"), NotLeaderError()])
def test_an_event_that_cannot_be_written_is_logged_and_holds_up_no_other(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(desk: Desk) -> None:
        desk.errors = [error]
        await desk.desk.tell(event("a"))
        await desk.desk.tell(event("b"))
        desk.quiet.set()
        await asyncio.sleep(5)

    assert [reason for _, reason in played(script)] == ["b"]
    (record,) = caplog.records
    assert (record.message, record.reason) == ("event lost", "a")  # type: ignore[attr-defined]
