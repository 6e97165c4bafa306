"""Why a run ends early: one exception per documented exit code, each with a one-line message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from sro_api.exit_codes import ExitCode


class TrainerError(Exception):
    """A run that cannot go on. The message is one line that names field, value and rule."""

    exit_code: ClassVar[ExitCode]
    reason: ClassVar[str]
    """One CamelCase word for the termination message."""


class ConfigurationError(TrainerError):
    """The run configuration cannot be satisfied, on this machine or with these models."""

    exit_code = ExitCode.BAD_CONFIGURATION
    reason = "BadConfiguration"


class DataError(TrainerError):
    """A source of data or a model cannot be used."""

    exit_code = ExitCode.BAD_DATA
    reason = "BadData"


class DivergedError(TrainerError):
    """The loss is no longer finite."""

    exit_code = ExitCode.DIVERGED
    reason = "LossDiverged"


class NoSpaceError(TrainerError):
    """The volume is full; the last complete checkpoint stands."""

    exit_code = ExitCode.NO_SPACE
    reason = "NoSpace"


class PeerLostError(TrainerError):
    """Another rank is gone, or did not answer in time."""

    exit_code = ExitCode.PEER_LOST
    reason = "PeerLost"


class RendezvousError(TrainerError):
    """The ranks did not find each other in time."""

    exit_code = ExitCode.RENDEZVOUS_FAILED
    reason = "RendezvousFailed"


class Terminated(TrainerError):  # noqa: N818 - a request that was obeyed, not an error of the run
    """SIGTERM was received; training stopped after a checkpoint."""

    exit_code = ExitCode.TERMINATED
    reason = "Terminated"


def first_line(error: BaseException) -> str:
    """What a library said, as one line: its message's first, or the error's name where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def unreadable(what: str) -> Iterator[None]:
    """Give what transformers raises on files that it cannot read as one line: `what`, then the cause.

    Raises:
        DataError: a file could not be read.
    """
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{what}: {first_line(error)}") from error
