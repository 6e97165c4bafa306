"""Long-running child processes: started with a log file, recorded, awaited and stopped by their recorded pid."""

import ctypes
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sro_cluster.errors import ClusterError

_POLL_SECONDS = 0.05
_TERM_SECONDS = 10.0
_KILL_SECONDS = 10.0
_SHOWN_LINES = 3
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One started process; ``start_ticks`` tells it from a later process that was given the same pid."""

    name: str
    pid: int
    start_ticks: int


class Processes:
    """The processes of one cluster folder, and ``processes.json``, by which another call can stop them."""

    def __init__(self, directory: Path, *, die_with_parent: bool) -> None:
        """
        Args:
            directory: gets ``processes.json`` and ``logs/NAME.log``.
            die_with_parent: the kernel kills each process when the thread that started it ends, however it ends.
        """
        self._directory = directory
        self._die_with_parent = die_with_parent
        self._record = directory / "processes.json"
        recorded = json.loads(self._record.read_text()) if self._record.exists() else []
        # What ended meanwhile must not be mistaken for a later process of the same name.
        self._started: dict[str, tuple[list[str], tuple[int, ...]]] = {}
        self._running = [process for process in (Recorded(**entry) for entry in recorded) if _is_alive(process)]

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Starts ``argv`` in a session of its own, its output appended to ``logs/NAME.log``."""
        words = [str(word) for word in argv]
        self._started[name] = (words, tuple(pass_fds))
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=pass_fds,
                # One system call between fork and exec, which needs no lock that a thread may hold. Popen returns after
                # it, so no later end of this program goes unnoticed; a wrapper that calls it would come too late.
                preexec_fn=_request_death_with_parent if self._die_with_parent else None,  # noqa: PLW1509
            )
        # Popen warns when it is collected while its child runs; the record is what keeps track of this one.
        child.returncode = 0
        self._running.append(Recorded(name=name, pid=child.pid, start_ticks=_start_ticks(child.pid) or 0))
        self._save()

    def wait_until(self, name: str, ready: Callable[[], bool], *, seconds: float) -> None:
        """Polls ``ready`` until it holds.

        Raises:
            ClusterError: the process ended, or the time passed; carries the last lines of its log.
        """
        deadline = time.monotonic() + seconds
        process = next(entry for entry in self._running if entry.name == name)
        while not ready():
            if _ended_within(process, _POLL_SECONDS):
                raise ClusterError(f"{name} ended while it was starting: {self._last_lines(name)}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{name} was not ready after {seconds:.0f} s: {self._last_lines(name)}")

    def stop(self, name: str) -> None:
        """Stops the processes of one name, with SIGTERM first; none is no error."""
        for process in [entry for entry in self._running if entry.name == name]:
            _stop(process)
            self._running.remove(process)
        self._save()

    def kill(self, name: str) -> None:
        """Kills the processes of one name as a crash would."""
        for process in [entry for entry in self._running if entry.name == name]:
            os.kill(process.pid, signal.SIGKILL)
            _ended_within(process, _KILL_SECONDS)
            self._running.remove(process)
        self._save()

    def start_again(self, name: str) -> None:
        """Starts what this object started under a name before, as it did then."""
        words, pass_fds = self._started[name]
        self.start(name, words, pass_fds=pass_fds)

    def stop_all(self) -> None:
        """Stops every recorded process, the last started first."""
        for process in reversed(self._running):
            _stop(process)
        self._running = []
        self._save()

    def names_alive(self) -> list[str]:
        """The names of the recorded processes that still run."""
        return [entry.name for entry in self._running if _is_alive(entry)]

    def log(self, name: str) -> Path:
        """Where the output of a process goes."""
        return self._directory / "logs" / f"{name}.log"

    def _save(self) -> None:
        temporary = self._record.with_suffix(".tmp")
        temporary.write_text(json.dumps([asdict(entry) for entry in self._running], indent=1))
        temporary.replace(self._record)

    def _last_lines(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").strip().splitlines()
        panics = [line for line in lines if line.startswith("panic:")]
        if panics:
            return panics[-1]  # what follows it is a stack, of which the last lines say nothing
        return " | ".join(lines[-_SHOWN_LINES:]) or "it wrote nothing"


def _request_death_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process, or None where there is none (a zombie counts as none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _is_alive(process: Recorded) -> bool:
    return _start_ticks(process.pid) == process.start_ticks


def _ended_within(process: Recorded, seconds: float) -> bool:
    """Waits for the end of a process, and reaps it where it is a child of ours."""
    if not _is_alive(process):
        _reap(process.pid)
        return True
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        ended = bool(poller.poll(seconds * 1000))
    finally:
        os.close(handle)
    if ended:
        _reap(process.pid)
    return ended


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier call of the tool: init reaps it


def _stop(process: Recorded) -> None:
    for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        if not _is_alive(process):
            break
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            break
        if _ended_within(process, seconds):
            break
    _reap(process.pid)
