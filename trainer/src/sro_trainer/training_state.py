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
    mean_reward: float = 0.0
    """Of the rows in the loss of all steps of the game so far, as BCO reads it."""
    rewarded_rows: Annotated[int, Field(ge=0)] = 0
    """How many rows that mean is over."""

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


def mean_with(mean: float, count: int, *, new_mean: float, new_count: int) -> float:
    """The mean over `count` values and `new_count` more."""
    return mean if new_count == 0 else mean + (new_mean - mean) * (new_count / (count + new_count))


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
