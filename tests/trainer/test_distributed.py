"""Two ranks, one of which falls silent in an exchange of DeepSpeed's, not of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_RANK = """
import os, sys
import torch
from deepspeed.utils import groups
from sro_trainer.distributed import join, lost_peers_named
from sro_trainer.errors import PeerLostError

world = join(os.environ)
if world.rank == 1:
    sys.stdin.read()
    os._exit(0)
try:
    with lost_peers_named(world):
        torch.distributed.all_reduce(torch.ones(1), group=groups._get_data_parallel_group())
except PeerLostError as error:
    print(error, flush=True)
    os._exit(int(error.exit_code))
"""


def test_a_silent_rank_is_not_waited_for_in_deepspeeds_exchanges(tmp_path: Path) -> None:
    def rank(number: int) -> subprocess.Popen[str]:
        told = {
            "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "DS_ACCELERATOR": "cpu",
            "SRO_STORE": str(tmp_path / "store"), "SRO_COLLECTIVE_SECONDS": "2", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-c", _RANK], env={**os.environ, **told}, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    ranks = [rank(0), rank(1)]
    try:
        said, _ = ranks[0].communicate(timeout=300)
        assert ranks[0].returncode == 74
        assert "rank 0: another rank is gone or silent" in said
    finally:
        for process in ranks:
            process.kill()
            process.communicate()
