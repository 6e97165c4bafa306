"""What the client does when the API server errs: faults that a real one does not produce on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from kubernetes.aio import client

from sro_operator import insisting
from sro_operator.cluster import Cluster
from sro_operator.errors import ApiError, NotLeaderError
from sro_operator.keys import Key
from sro_operator.kinds import JOB

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo", "namespace": "team"}}
KEY = Key(namespace="team", name="demo")


def play(codes: list[int], script: Callable[[Cluster], Awaitable[object]]) -> tuple[object, list[str]]:
    """Run a script against an API server that answers with these codes in turn; what came of it, and the requests."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        code = codes[len(asked) - 1]
        return web.json_response({"metadata": {"name": "demo"}, "reason": "AlreadyExists", "message": "m"}, status=code)

    async def main() -> object:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        configuration = client.Configuration()
        configuration.host = f"http://{host}:{port}"
        async with Cluster(client.ApiClient(configuration)) as cluster:
            try:
                return await script(cluster)
            except (ApiError, NotLeaderError) as error:
                return error
            finally:
                await runner.cleanup()

    return asyncio.run(main()), asked


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses are no part of what is asked here."""
    monkeypatch.setattr(insisting, "RETRY_PAUSES", (0.0, 0.0))


@pytest.mark.parametrize(
    ("codes", "requests", "status"),
    [([200], 1, None), ([500, 500, 201], 3, None), ([500, 500, 500], 3, 500), ([500, 409], 2, 409), ([422], 1, 422)],
)
def test_a_write_is_tried_again_after_a_500_and_after_nothing_else(
    codes: list[int], requests: int, status: int | None
) -> None:
    outcome, asked = play(codes, lambda cluster: cluster.create(SERVICE))
    assert asked == ["POST /api/v1/namespaces/team/services"] * requests
    assert getattr(outcome, "status", None) == status


def test_a_delete_that_was_done_though_its_answer_was_a_500_is_done() -> None:
    outcome, asked = play([500, 404], lambda cluster: cluster.delete(JOB, KEY, uid="u"))
    assert (outcome, len(asked)) == (None, 2)


def test_a_lease_is_asked_for_once() -> None:
    outcome, asked = play([500, 200], lambda cluster: cluster.get_lease(KEY))
    assert isinstance(outcome, ApiError)
    assert len(asked) == 1


def test_a_write_is_not_tried_again_by_one_who_may_write_no_more() -> None:
    left = iter([5.0, 0.0])

    async def write(cluster: Cluster) -> object:
        cluster.seconds_to_write = lambda: next(left)
        return await cluster.create(SERVICE)

    outcome, asked = play([500, 201], write)
    assert isinstance(outcome, NotLeaderError)
    assert len(asked) == 1
