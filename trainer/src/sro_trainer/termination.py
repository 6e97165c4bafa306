"""How a process is asked to stop, and what it leaves as its last word."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

KUBERNETES_TERMINATION_LOG = Path("/dev/termination-log")
MESSAGE_LIMIT_BYTES = 4096
"""More of a termination message the kubelet does not keep."""


class StopRequest:
    """Set by SIGTERM; looked at between two steps."""

    def __init__(self) -> None:
        self.requested = False

    def install(self) -> None:
        """Handle SIGTERM from now on."""
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True


def last_word(reason: str, message: str) -> str:
    """A termination message: one line of JSON, cut so that the kubelet keeps it whole."""
    line = " ".join(message.split())
    text = json.dumps({"reason": reason, "message": line})
    while len(text.encode()) > MESSAGE_LIMIT_BYTES:
        line = line[: len(line) // 2] + "..."
        text = json.dumps({"reason": reason, "message": line})
    return text


def termination_log(environment: Mapping[str, str]) -> Path | None:
    """The file of the last word: SRO_TERMINATION_LOG, or the kubelet's where there is one; None if neither can be written."""
    given = environment.get("SRO_TERMINATION_LOG")
    if given:
        return Path(given)
    path = KUBERNETES_TERMINATION_LOG
    return path if path.exists() and os.access(path, os.W_OK) else None
