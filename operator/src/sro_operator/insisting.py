"""Trying again where the API server erred: a look that gives up has to begin anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from sro_api.base import Manifest
from sro_operator.errors import ApiError

RETRY_PAUSES = (0.1, 0.3)
"""Seconds before a request that met a 500 is tried again."""


async def insisted(request: Callable[[], Awaitable[Manifest]]) -> Manifest:
    """The request's answer; after a 500, and after nothing else, it is made again."""
    for pause in RETRY_PAUSES:
        try:
            return await request()
        except ApiError as error:
            if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
        await asyncio.sleep(pause)
    return await request()
