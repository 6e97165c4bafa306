"""`python -m sro_trainer`: what must come before everything else, then `entry.py`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from sro_api.exit_codes import ExitCode


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Nothing has begun, so there is nothing to keep."""
    os._exit(ExitCode.TERMINATED)


if __name__ == "__main__":
    # The kernel drops a signal to process 1 of a container that has no handler for it: a pod that was deleted while it
    # started, or while it waited for rank 0, would go on for as long as its grace lasts.
    signal.signal(signal.SIGTERM, _leave)
    from sro_trainer.entry import main

    sys.exit(main())
