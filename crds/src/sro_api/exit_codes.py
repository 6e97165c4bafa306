"""How a trainer process ends: the codes that the trainer exits with and the operator acts on."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Why a trainer process ended. Below 128, so that none can be taken for death by a signal."""

    COMPLETE = 0
    """Trained to the last step; the output is written and verified."""
    BAD_CONFIGURATION = 64
    """The run configuration cannot be satisfied; the same attempt would fail again."""
    BAD_DATA = 65
    """A source of data or a model cannot be used; the same attempt would fail again."""
    DIVERGED = 66
    """The loss is no longer finite; the same attempt would diverge again."""
    UNREACHABLE = 69
    """A remote source does not answer; the next attempt may reach it."""
    NO_SPACE = 73
    """The volume is full; the last complete checkpoint stands."""
    PEER_LOST = 74
    """Another rank is gone or silent; its own end tells why, and the next attempt goes on from the last checkpoint."""
    RENDEZVOUS_FAILED = 75
    """The ranks did not find each other in time."""
    TERMINATED = 76
    """Asked to stop by SIGTERM: checkpointed and left."""


FINAL_EXIT_CODES: frozenset[int] = frozenset({ExitCode.BAD_CONFIGURATION, ExitCode.BAD_DATA, ExitCode.DIVERGED})
"""No restart follows these: the cause lies in the job itself."""
