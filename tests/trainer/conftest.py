"""One world of one process for all tests that need DeepSpeed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# DeepSpeed reads it itself, wherever it is told the rank.
os.environ.setdefault("LOCAL_RANK", "0")

import torch

from sro_trainer.distributed import World, join, leave


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    torch.set_num_threads(1)
    yield join({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
    leave()
