"""A node's agent: starts this node's training processes, passes signals on, and ends as they end."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from sro_api.exit_codes import FINAL_EXIT_CODES, ExitCode
from sro_api.labels import RENDEZVOUS_PORT
from sro_api.run_config import RunConfig
from sro_trainer.cores import available_cores
from sro_trainer.errors import RendezvousError
from sro_trainer.termination import last_word, termination_log

logger = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""After one process failed, how long the others may take to end by themselves, and again after SIGTERM."""
POLL_SECONDS = 0.2
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Node:
    """This node's place in the gang."""

    rank: int
    nodes: int
    processes: int
    """Training processes on each node."""
    master_address: str
    master_port: int

    @classmethod
    def from_environment(cls, config: RunConfig, environment: Mapping[str, str]) -> Node:
        """JOB_COMPLETION_INDEX is the node's rank; SRO_MASTER_ADDR and SRO_MASTER_PORT are where rank 0 listens."""
        return cls(
            rank=int(environment.get("JOB_COMPLETION_INDEX", "0")),
            nodes=config.spec.compute.nodes,
            processes=config.spec.compute.processes_per_node,
            master_address=environment.get("SRO_MASTER_ADDR", LOOPBACK),
            master_port=int(environment.get("SRO_MASTER_PORT", str(RENDEZVOUS_PORT))),
        )

    def worker_environment(self, local_rank: int, environment: Mapping[str, str], folder: Path) -> dict[str, str]:
        """What one training process is told.

        Args:
            local_rank: of the process on this node.
            environment: of the agent.
            folder: scratch that the node's processes share.
        """
        told = {
            "RANK": str(self.rank * self.processes + local_rank),
            "LOCAL_RANK": str(local_rank),
            "WORLD_SIZE": str(self.nodes * self.processes),
            "LOCAL_WORLD_SIZE": str(self.processes),
            "MASTER_ADDR": self.master_address,
            "MASTER_PORT": str(self.master_port),
            "SRO_LAST_WORD": str(folder / f"last-word-{local_rank}.json"),
        }
        if self.nodes == 1:
            told["SRO_STORE"] = str(folder / "store")
        defaults = {
            "OMP_NUM_THREADS": str(max(1, available_cores() // self.processes)),
            # Threads that spin at a barrier take the core from the thread that they wait for, where cores are shared: steps of
            # 50 s in place of 7 s were seen beside other work.
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
            # Bars of libraries would tear our own.
            "TQDM_DISABLE": "1",
        }
        return {**defaults, **environment, **told}


def launch(config: RunConfig, config_file: Path, environment: Mapping[str, str]) -> int:
    """Run this node's share of the job and leave a termination message.

    Returns:
        The exit code of the process whose end tells most.
    """
    node = Node.from_environment(config, environment)
    with tempfile.TemporaryDirectory(prefix="sro-") as scratch:
        folder = Path(scratch)
        code = ExitCode.RENDEZVOUS_FAILED.value
        try:
            await_rank_zero(node, float(environment.get("SRO_RENDEZVOUS_SECONDS", "300")))
        except RendezvousError as error:
            logger.error("rendezvous failed", extra={"error": str(error)})
            word = last_word(error.reason, str(error))
        else:
            command = [sys.executable, "-m", "sro_trainer", "--worker", "--config", str(config_file)]
            gang = Gang(command, [node.worker_environment(rank, environment, folder) for rank in range(node.processes)])
            teller, code = gang.wait()
            word = _word_of(folder / f"last-word-{teller}.json", code)
        log = termination_log(environment)
        if log is not None:
            log.write_text(word, encoding="utf-8")
    return code


class Gang:
    """The training processes of one node."""

    def __init__(self, command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> None:
        self._stopping = False
        previous = signal.signal(signal.SIGTERM, self._pass_on)
        self._previous = previous
        self._processes: list[subprocess.Popen[bytes]] = []
        for environment in environments:
            self._processes.append(subprocess.Popen(command, env=dict(environment)))
        if self._stopping:
            self._signal(signal.SIGTERM)

    def wait(self) -> tuple[int, int]:
        """Wait for all processes; when one fails, the others are given a grace and are then made to end.

        Returns:
            The local rank whose end tells most, and its exit code, 128 + n for a death by signal n.
        """
        ended: list[tuple[int, int]] = []
        deadline, escalation = float("inf"), [signal.SIGTERM, signal.SIGKILL]
        try:
            while len(ended) < len(self._processes):
                self._wait_a_little()
                ended += self._newly_ended({rank for rank, _ in ended})
                failed = any(code != 0 for _, code in ended)
                if failed and deadline == float("inf"):
                    deadline = time.monotonic() + GRACE_SECONDS
                if time.monotonic() > deadline and escalation:
                    self._signal(escalation.pop(0))
                    deadline = time.monotonic() + GRACE_SECONDS
        finally:
            self._signal(signal.SIGKILL)
            signal.signal(signal.SIGTERM, self._previous)
        return most_telling(ended)

    def _wait_a_little(self) -> None:
        running = next(process for process in self._processes if process.poll() is None or True)
        try:
            running.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            return

    def _newly_ended(self, known: set[int]) -> list[tuple[int, int]]:
        codes = ((rank, process.poll()) for rank, process in enumerate(self._processes) if rank not in known)
        # A negative code is a death by signal.
        return [(rank, code if code >= 0 else 128 - code) for rank, code in codes if code is not None]

    def _pass_on(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def most_telling(ended: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Of (local rank, exit code) in the order of their ends, the one that says why the node ended.

    A cause in the job itself goes before a full volume, that before a request to stop, and that before whatever happened
    first. That a peer was lost is told last: the peer's own end says more.
    """
    failures = sorted((end for end in ended if end[1] != 0), key=lambda end: end[1] == ExitCode.PEER_LOST)
    ranking = [FINAL_EXIT_CODES, {ExitCode.NO_SPACE}, {ExitCode.TERMINATED}]
    for codes in ranking:
        for end in failures:
            if end[1] in codes:
                return end
    return failures[0] if failures else min(ended)


def await_rank_zero(node: Node, patience_seconds: float) -> None:
    """Wait until rank 0 answers. Its name may not resolve before its pod has an address.

    Raises:
        RendezvousError: it does not within the time.
    """
    if node.rank == 0:
        return
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            socket.create_connection((node.master_address, node.master_port), timeout=5).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise RendezvousError(
                    f"rank 0 at {node.master_address}:{node.master_port} did not answer within {patience_seconds:.0f} s: {error}"
                ) from error
            time.sleep(0.5)
        else:
            return


def _word_of(path: Path, code: int) -> str:
    if path.exists():
        return path.read_text(encoding="utf-8")
    if code == ExitCode.COMPLETE:
        return last_word("TrainingComplete", "trained to the last step")
    how = f"killed by {signal.Signals(code - 128).name}" if code > 128 else f"exit code {code}"
    return last_word("Error", f"the trainer process ended without a word: {how}")
