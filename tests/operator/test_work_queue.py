"""The queue in virtual time: no sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.work_queue import LATE, LATEST, Outcome, WorkQueue
from virtual_time import VirtualTimeLoop

A, B, C = (Key(namespace="n", name=name) for name in "abc")


Looks = list[tuple[float, str]]


def play(
    handler: Callable[[Key, Looks], Awaitable[float | None]],
    script: Callable[[WorkQueue], Awaitable[None]],
    concurrency: int = 2,
) -> tuple[Looks, list[Outcome]]:
    """Run a queue while the script plays; when each key was looked at, and the outcomes."""
    looks: Looks = []
    outcomes: list[Outcome] = []

    async def handle(key: Key) -> float | None:
        looks.append((round(asyncio.get_running_loop().time(), 3), key.name))
        return await handler(key, looks)

    async def main() -> None:
        queue = WorkQueue(handle, concurrency, outcomes.append)
        worker = asyncio.create_task(queue.run())
        await script(queue)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    return looks, outcomes


async def quick(_key: Key, _looks: Looks) -> None:
    return None


async def slow(_key: Key, _looks: Looks) -> None:
    await asyncio.sleep(10)


def test_waking_often_looks_once() -> None:
    async def script(queue: WorkQueue) -> None:
        for _ in range(5):
            queue.wake(A)
        queue.wake(B)
        await asyncio.sleep(1)

    looks, _ = play(quick, script)
    assert looks == [(0, "a"), (0, "b")]


def test_a_key_woken_while_it_is_looked_at_is_looked_at_once_more_and_never_twice_at_a_time() -> None:
    async def script(queue: WorkQueue) -> None:
        queue.wake(A)
        await asyncio.sleep(3)
        queue.wake(A)
        queue.wake(A)
        await asyncio.sleep(50)

    looks, _ = play(slow, script)
    assert looks == [(0, "a"), (10, "a")]


def test_no_more_keys_than_workers_are_looked_at_together() -> None:
    async def script(queue: WorkQueue) -> None:
        queue.wake(A)
        queue.wake(B)
        await asyncio.sleep(5)
        assert len(queue) == 1
        await asyncio.sleep(50)

    looks, _ = play(slow, script, concurrency=1)
    assert looks == [(0, "a"), (10, "b")]


def test_of_several_times_the_earliest_counts() -> None:
    async def script(queue: WorkQueue) -> None:
        queue.wake(A, after_seconds=30)
        queue.wake(A, after_seconds=5)
        queue.wake(A, after_seconds=20)
        await asyncio.sleep(100)

    looks, _ = play(quick, script)
    assert looks == [(5, "a")]


def test_a_look_may_ask_for_the_next() -> None:
    async def again_twice(_key: Key, looks: Looks) -> float | None:
        return 7.0 if len(looks) < 3 else None

    async def script(queue: WorkQueue) -> None:
        queue.wake(A)
        await asyncio.sleep(100)

    looks, _ = play(again_twice, script)
    assert looks == [(0, "a"), (7, "a"), (14, "a")]


def _after_progress(status: int) -> ApiError:
    error = ApiError(status, "x")
    error.has_progressed = True
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiError(500, "x"), [0, 0.5, 1.5, 3.5]),
        (ApiError(429, "x", retry_after_seconds=3), [0, 3, 6, 9]),
        (KeyError("a fault of ours"), [0, 0.5, 1.5, 3.5]),
        (_after_progress(500), [0, 0.5, 1.0, 1.5]),
    ],
    ids=["server error", "asked to wait", "bug", "gets further each time"],
)
def test_a_failing_key_pauses_longer_each_time_and_holds_up_no_other(error: Exception, expected: list[float]) -> None:
    async def fail_thrice(key: Key, looks: Looks) -> None:
        if key == A and sum(name == "a" for _, name in looks) <= 3:
            raise error

    async def script(queue: WorkQueue) -> None:
        queue.wake(A)
        await asyncio.sleep(0.1)
        queue.wake(B)
        await asyncio.sleep(100)

    looks, outcomes = play(fail_thrice, script, concurrency=1)
    assert [time for time, name in looks if name == "a"] == expected
    assert (0.1, "b") in looks
    assert [outcome.error for outcome in outcomes if outcome.key == A] == [error, error, error, None]


def test_events_do_not_cut_a_failed_keys_pause_short() -> None:
    async def fail_slowly(_key: Key, looks: Looks) -> None:
        await asyncio.sleep(1)
        if len(looks) == 1:
            raise ApiError(429, "x", retry_after_seconds=60)

    async def script(queue: WorkQueue) -> None:
        queue.wake(A)
        await asyncio.sleep(0.5)
        queue.wake(A)
        await asyncio.sleep(200)

    looks, _ = play(fail_slowly, script)
    assert looks == [(0, "a"), (61, "a")]


def test_the_slowest_look_is_known() -> None:
    async def script(queue: WorkQueue) -> None:
        queue.wake(A)
        await asyncio.sleep(4)
        assert queue.longest_seconds() == 4
        await asyncio.sleep(7)
        assert queue.longest_seconds() == 0

    play(slow, script)


@pytest.mark.parametrize("late", [LATE, LATEST])
def test_late_keys_wait_for_all_others_unless_they_are_woken_again(late: int) -> None:
    old = [Key(namespace="n", name=f"old-{number}") for number in range(3)]

    async def script(queue: WorkQueue) -> None:
        for key in old:
            queue.wake(key, lateness=late)
        queue.wake(A)
        queue.wake(old[2])
        queue.wake(old[2], lateness=late)
        queue.wake(B, lateness=late)
        queue.wake(B)
        queue.wake(C, lateness=1)
        await asyncio.sleep(100)

    looks, _ = play(slow, script, concurrency=1)
    assert [name for _, name in looks] == ["a", "old-2", "b", "c", "old-0", "old-1"]


def test_of_a_namespace_the_less_late_come_first_and_others_wait_for_none_of_them() -> None:
    begun = [Key(namespace="n", name=f"begun-{number}") for number in range(3)]

    async def script(queue: WorkQueue) -> None:
        queue.wake(Key(namespace="n", name="new"), lateness=1)
        for key in begun:
            queue.wake(key)
        queue.wake(Key(namespace="other", name="new"), lateness=1)
        await asyncio.sleep(100)

    looks, _ = play(slow, script, concurrency=1)
    assert [name for _, name in looks] == ["begun-0", "new", "begun-1", "begun-2", "new"]


def test_namespaces_take_turns() -> None:
    async def script(queue: WorkQueue) -> None:
        for number in range(50):
            queue.wake(Key(namespace="many", name=f"m{number}"))
        queue.wake(Key(namespace="few", name="one"))
        await asyncio.sleep(100)

    async def handler(_key: Key, _looks: Looks) -> None:
        await asyncio.sleep(1)

    looks, outcomes = play(handler, script, concurrency=1)
    assert [name for _, name in looks[:3]] == ["m0", "one", "m1"]
    assert (len(outcomes), outcomes[1].waited_seconds) == (51, 1.0)


def test_it_is_quiet_when_no_key_waits_and_one_at_most_is_looked_at() -> None:
    seen: list[tuple[float, bool]] = []

    async def handler(key: Key, _looks: Looks) -> None:
        await asyncio.sleep({A: 10, B: 30, C: 15}[key])

    async def script(queue: WorkQueue) -> None:
        assert queue.is_quiet
        for key in (A, B, C):
            queue.wake(key)
        for seconds in (0.5, 60):
            await queue.until_quiet(seconds)
            seen.append((asyncio.get_running_loop().time(), queue.is_quiet))

    # C waits for a worker until 10, and B and C are looked at until C's ends.
    play(handler, script)
    assert seen == [(0.5, False), (25.0, True)]
