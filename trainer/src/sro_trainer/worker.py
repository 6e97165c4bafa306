"""One training process: meet the others, run, tell the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import torch
from transformers.utils.logging import disable_progress_bar

from sro_api.run_config import RunConfig
from sro_trainer.console import configure
from sro_trainer.distributed import join, leave, lost_peers_named
from sro_trainer.progress import build_reporter, completion_message
from sro_trainer.session import run
from sro_trainer.termination import StopRequest


def work(config: RunConfig, stop: StopRequest, environment: Mapping[str, str]) -> str | None:
    """Run as one rank.

    Returns:
        The termination message, on rank 0.

    Raises:
        TrainerError: the run ended early.
    """
    is_main = environment["RANK"] == "0"
    configure(level=logging.INFO if is_main else logging.WARNING)
    disable_progress_bar()
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    reporter = build_reporter(config, is_main=is_main)
    try:
        world = join(environment)
        with lost_peers_named(world):
            finished = run(config, world, stop, reporter)
    finally:
        reporter.close()
    leave()
    return completion_message(finished.evaluation, finished.output) if is_main else None
