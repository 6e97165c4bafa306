"""Reading what the API server sends: errors, and streams of lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp

from sro_operator.errors import ApiError


def error_of(response: aiohttp.ClientResponse, text: str) -> ApiError:
    """The error that an answer tells of; `text` is its body."""
    try:
        answer = json.loads(text)
        message, reason = str(answer["message"]), str(answer.get("reason", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        message, reason = text.strip() or str(response.reason), ""
    after = response.headers.get("Retry-After", "")
    pause = float(after) if after.isdecimal() else None
    return ApiError(response.status, message, reason=reason, retry_after_seconds=pause)


async def lines_of(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length; the stream's own reader refuses those that are longer than its buffer."""
    rest = bytearray()
    async for data in content.iter_any():
        rest += data
        if b"\n" in data:
            *lines, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in lines:
                if line:
                    yield line
