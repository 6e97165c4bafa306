"""Where a run is: what a checkpoint remembers beside weights and optimiser, and the clock of its phases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import Field

from sro_api.base import ApiModel
from sro_api.status import EvaluationStatus, ProgressPoint

Stage = Literal["WarmStart", "Training"]
HISTORY_LIMIT = 64


class TrainingState(ApiModel):
    """A point of a run between two steps.

    There is no state of any random generator in it: every draw is seeded by the run's seed, the stage, the step and the row,
    and so is the order of rows.
    """

    stage: Stage
    step: Annotated[int, Field(ge=0)] = 0
    """Optimiser steps of the stage done."""
    evaluation: EvaluationStatus = EvaluationStatus()
    """What was measured so far."""
    history: tuple[ProgressPoint, ...] = ()

    @property
    def name(self) -> str:
        """Of the checkpoint: sorts by age."""
        return f"{'a-warm-start' if self.stage == 'WarmStart' else 'b-training'}-{self.step:09d}"


def with_point(
    history: tuple[ProgressPoint, ...], point: ProgressPoint, *, total_steps: int
) -> tuple[ProgressPoint, ...]:
    """The history with a point more, if its turn has come: points lie at even distances over the whole run, at most 64."""
    distance = max(1, -(-total_steps // HISTORY_LIMIT))
    return (*history, point) if point.step % distance == 0 else history


class Stopwatch:
    """Seconds spent per phase of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time inside to a phase."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
