"""Where the API server is, and what of the environment counts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from sro_operator.cluster import Cluster
from sro_operator.keys import Key
from sro_operator.kubeconfig import proxy_of

TOKEN = "a-token"


def test_a_netrc_file_does_not_take_the_place_of_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"metadata": {}, "items": []})

    async def main() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        (tmp_path / "netrc").write_text(f"machine {host} login somebody password secret\n")
        (tmp_path / "config").write_text(json.dumps(kubeconfig(f"http://{host}:{port}")))
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        async with await Cluster.connect() as cluster:
            assert await cluster.jobs_of(Key(namespace="team", name="demo")) == []
        await runner.cleanup()

    asyncio.run(main())
    assert seen == [f"Bearer {TOKEN}"]


def kubeconfig(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": TOKEN}}],
    }


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://10.0.0.1:443", {}, None),
        ("https://10.0.0.1:443", {"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("https://10.0.0.1:443", {"https_proxy": "http://proxy:3128", "no_proxy": "10.0.0.1"}, None),
        ("http://127.0.0.1:8080", {"HTTPS_PROXY": "http://proxy:3128"}, None),
    ],
)
def test_the_proxy_is_that_of_the_environment(
    url: str, environment: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == proxy
