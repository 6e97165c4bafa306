"""One world of one process for all tests that need DeepSpeed."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from sro_trainer.distributed import World
from sro_trainer.testing import world_of_one


@pytest.fixture(scope="session")
def world() -> World:
    return world_of_one()
