"""The gang of processes: how they meet, and the few words that they exchange."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import groups

# torch.distributed exports them only where it was built in, which type checkers cannot see.
from torch._C._distributed_c10d import FileStore, HashStore, Store, TCPStore

from sro_trainer.errors import PeerLostError, RendezvousError, first_line

RENDEZVOUS_SECONDS = 300
"""How long the ranks wait for each other at the start, unless SRO_RENDEZVOUS_SECONDS says otherwise."""
COLLECTIVE_SECONDS = 3600
"""How long a rank waits for the others later on, unless SRO_COLLECTIVE_SECONDS says otherwise: rank 0 may be verifying a large
checkpoint. A rank that is dead, and not silent, is noticed at once."""
_SIGNS_OF_A_LOST_PEER = (
    "Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting", "gloo", "NCCL", "ProcessGroup",
)  # fmt: skip

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class World:
    """This process among its peers."""

    rank: int
    local_rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes and reports."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This rank's part of `count` things, which the size divides."""
        assert count % self.size == 0
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def total(self, values: Sequence[float]) -> list[float]:
        """Sums over all ranks."""
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on some rank."""
        return self.total([float(flag)])[0] > 0

    def from_main(self, value: _T | None) -> _T:
        """Rank 0's value, on every rank; the others give None."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]  # type: ignore[return-value]

    def gathered(self, value: _T) -> list[_T]:
        """Every rank's value, by rank."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.total([0.0])


def join(environment: Mapping[str, str]) -> World:
    """Meet the other processes; with a single one, no port is opened.

    Args:
        environment: RANK, LOCAL_RANK, WORLD_SIZE, and either SRO_STORE (a file that all processes of one machine share)
            or MASTER_ADDR and MASTER_PORT. SRO_RENDEZVOUS_SECONDS and SRO_COLLECTIVE_SECONDS bound the waiting.

    Raises:
        RendezvousError: some did not come within the time.
    """
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    local_rank = int(environment["LOCAL_RANK"])
    patience = timedelta(seconds=int(environment.get("SRO_RENDEZVOUS_SECONDS", RENDEZVOUS_SECONDS)))
    silence = int(environment.get("SRO_COLLECTIVE_SECONDS", COLLECTIVE_SECONDS))
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        store = _store(environment, rank, size, patience)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timedelta(seconds=silence))
        world = World(rank=rank, local_rank=local_rank, size=size, device=device)
        world.barrier()
    except (dist.DistError, RuntimeError, OSError) as error:
        reason = first_line(error)
        raise RendezvousError(
            f"rank {rank}: the {size} ranks did not meet within {patience.seconds} s: {reason}"
        ) from error
    _attach_deepspeed(local_rank, timedelta(seconds=silence))
    return world


@contextmanager
def lost_peers_named(world: World) -> Iterator[None]:
    """Tell the failure of an exchange with other ranks from every other error.

    Raises:
        PeerLostError: a rank is gone, or was silent for too long.
    """
    try:
        yield
    except (dist.DistError, RuntimeError) as error:
        told = isinstance(error, dist.DistError) or any(sign in str(error) for sign in _SIGNS_OF_A_LOST_PEER)
        if world.size == 1 or not told:
            raise
        reason = first_line(error)
        raise PeerLostError(f"rank {world.rank}: another rank is gone or silent: {reason}") from error


def leave() -> None:
    """Part from the other processes in good order."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _store(environment: Mapping[str, str], rank: int, size: int, patience: timedelta) -> Store:
    if size == 1:
        return HashStore()
    if "SRO_STORE" in environment:
        # Everybody is on this machine: gloo need not be seen from outside it.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store: Store = FileStore(str(Path(environment["SRO_STORE"])), size)
        store.set_timeout(patience)
        return store
    address, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    return TCPStore(address, port, size, is_master=rank == 0, timeout=patience, wait_for_workers=True)


def _attach_deepspeed(local_rank: int, silence: timedelta) -> None:
    # It reads this itself, wherever else a rank is told.
    os.environ["LOCAL_RANK"] = str(local_rank)
    # On a CPU, DeepSpeed would compile a shared-memory operator here, which fails where there is no compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(verbose=False)
    # ZeRO exchanges over a group of DeepSpeed's own, which takes torch's default and would wait half an hour for a silent rank.
    dist.set_timeout(silence, groups._get_data_parallel_group())
