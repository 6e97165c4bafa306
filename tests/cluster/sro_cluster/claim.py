"""The claim on the machine's one node: a lock while it runs, and a note of its folder for who cleans up after a crash."""

import fcntl
from pathlib import Path
from typing import Self, TextIO

from sro_cluster.errors import ClusterError
from sro_cluster.locations import cache_root


class Claim:
    """Held by one node, or one user of its containerd, at a time: both write to the same folder of the cache."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle

    @classmethod
    def take(cls) -> Self:
        """Takes the claim.

        Raises:
            ClusterError: another one holds it; names its folder.
        """
        path = cache_root() / "node.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.close()
            raise ClusterError(f"another node runs on this machine, in {noted_directory()}") from error
        return cls(handle)

    def fileno(self) -> int:
        """A process that keeps this descriptor open keeps the claim, too."""
        return self._handle.fileno()

    def release(self) -> None:
        """Gives up this process's part of the claim."""
        self._handle.close()


def is_taken() -> bool:
    """Whether anyone holds the claim now."""
    try:
        Claim.take().release()
    except ClusterError:
        return True
    return False


def note(directory: Path) -> None:
    """Remembers the folder of the node that is about to start."""
    _note().write_text(str(directory))


def noted_directory() -> Path | None:
    """The folder of the last node that was not cleaned up after."""
    return Path(_note().read_text()) if _note().exists() else None


def forget() -> None:
    """Forgets the folder: nothing is left of that node."""
    _note().unlink(missing_ok=True)


def _note() -> Path:
    return cache_root() / "node"
