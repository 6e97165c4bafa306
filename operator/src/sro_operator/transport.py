"""One HTTP request to the API server and its answer: errors as ApiError, how long it takes, and leaving it alone when it asks for that."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import aiohttp
from kubernetes.aio import client

from sro_api.base import Manifest
from sro_operator.errors import ApiError
from sro_operator.kinds import LEASE
from sro_operator.wire import error_of

JSON = "application/json"

RequestObserver = Callable[[str, str, int], None]
"""Called after each request with verb, resource and HTTP status (0: no answer)."""


class Transport:
    """A configured client. Every method raises ApiError when its request fails, and nothing else."""

    def __init__(self, api: client.ApiClient, on_request: RequestObserver) -> None:
        """Use it."""
        self._api = api
        self._on_request = on_request
        self._held_until = 0.0
        self.answer_seconds = 0.0
        """How long the API server has lately taken to answer; of its last answers each counts for a tenth of what is then known."""

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def answer(
        self,
        method: str,
        resource: str,
        path: str,
        *,
        body: Manifest | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        seconds: float,
    ) -> Manifest:
        """One request and its answer."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            response = await self.send(
                method, resource, path, body=body, content_type=content_type, accept=accept, timeout=timeout
            )
            parsed: Manifest = json.loads(await response.read())
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise ApiError(0, f"{method} {path}: {error or type(error).__name__}") from error
        return parsed

    async def send(
        self,
        method: str,
        resource: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        body: Manifest | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> aiohttp.ClientResponse:
        """One request; the answer's body is not read yet unless it is a refusal, which is raised."""
        headers = {"Content-Type": content_type, "Accept": accept}
        await self._wait_for_leave(resource)
        begun = time.monotonic()
        try:
            method, url, headers, body, _ = await self._api.param_serialize(
                method, path, header_params=headers, query_params=[], body=body, auth_settings=["BearerToken"]
            )
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            text = "" if response.ok else await response.text()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._on_request(method, resource, 0)
            raise ApiError(0, f"{method} {path}: {error or type(error).__name__}") from error
        self._on_request(method, resource, response.status)
        self.answer_seconds += (time.monotonic() - begun - self.answer_seconds) / 10
        if not response.ok:
            refusal = error_of(response, text)
            if response.status == 429 and refusal.retry_after_seconds:
                self._held_until = max(self._held_until, time.monotonic() + refusal.retry_after_seconds)
            raise refusal
        return response

    async def _wait_for_leave(self, resource: str) -> None:
        """The API server that asked to be left alone is, by all requests but those that keep the lease."""
        while resource != LEASE.plural and (left := self._held_until - time.monotonic()) > 0:
            await asyncio.sleep(left)
