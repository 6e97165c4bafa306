"""What rank 0 tells while a run goes on: progress for the reporter, one row per step for `metrics.jsonl`."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from sro_api.status import EvaluationStatus, OutputStatus, ProgressStatus
from sro_trainer.loop import StepFigures
from sro_trainer.metrics_log import MetricsLog
from sro_trainer.players import Players
from sro_trainer.progress import Reporter
from sro_trainer.training_state import TrainingState
from sro_trainer.warm_start import WarmStartFigures

Telling = Literal["Starting", "WarmStart", "Evaluating", "Training", "Saving", "Done"]
_STEPS_TIMED = 20


class Narrator:
    """Keeps what the next report needs to know of earlier ones."""

    def __init__(self, reporter: Reporter, metrics: MetricsLog | None, players: Players, *, attempt: int) -> None:
        self._reporter = reporter
        self._metrics = metrics
        self._players = players
        self._attempt = attempt
        self._figures: StepFigures | None = None
        self._last_checkpoint: int | None = None
        self._state = TrainingState(stage="WarmStart")
        self._step_seconds: deque[float] = deque(maxlen=_STEPS_TIMED)
        self._last_step = time.monotonic()

    def begin(self, stage: Telling, state: TrainingState) -> None:
        """A phase of the run begins."""
        self._state = state
        self._step_seconds.clear()
        self._last_step = time.monotonic()
        self._report(stage)

    def warm_started(self, figures: WarmStartFigures, state: TrainingState) -> None:
        """A step of the warm start is done."""
        self._done(state, {"stage": "WarmStart", **asdict(figures)})
        self._report("WarmStart")

    def played(self, figures: StepFigures, state: TrainingState) -> None:
        """A step of the game is done."""
        self._figures = figures
        self._done(state, {"stage": "Training", **asdict(figures)})
        self._report("Training")

    def saved(self, state: TrainingState) -> None:
        """A checkpoint is complete."""
        if state.stage == "Training":
            self._last_checkpoint = state.step

    def measured(self, evaluation: EvaluationStatus) -> None:
        """An evaluation is done."""
        self._reporter.evaluation(evaluation)

    def written(self, output: OutputStatus, state: TrainingState) -> None:
        """The result is in place."""
        self._reporter.output(output)
        self.begin("Done", state)

    def _done(self, state: TrainingState, row: dict[str, object]) -> None:
        now = time.monotonic()
        self._step_seconds.append(now - self._last_step)
        self._last_step = now
        self._state = state
        if self._metrics is not None:
            self._metrics.append(row)

    def _report(self, stage: Telling) -> None:
        state, figures, players = self._state, self._figures, self._players
        warm, total = players.warm_start_steps, players.total_steps
        in_game = state.stage == "Training"
        done = (warm + state.step) if in_game else state.step
        self._reporter.report(
            ProgressStatus(
                attempt=self._attempt,
                stage=stage,
                step=min(state.step, total) if in_game else 0,
                total_steps=total,
                warm_start_step=(warm if in_game else state.step) if warm else None,
                percent=min(100, 100 * done // (warm + total)),
                seconds_left=self._seconds_left(stage, state),
                loss=figures.loss if figures else None,
                pass_rate=figures.pass_rate if figures else None,
                held_out_pass_rate=figures.held_out_pass_rate if figures else None,
                similarity=figures.similarity if figures else None,
                kl=figures.kl if figures else None,
                samples_per_second=figures.samples_per_second if figures else None,
                last_checkpoint_step=self._last_checkpoint,
                updated_at=datetime.now(UTC),
                history=state.history,
            )
        )

    def _seconds_left(self, stage: Telling, state: TrainingState) -> int | None:
        """Of the game, from the pace of the last steps; unknown before it."""
        if stage != "Training" or not self._step_seconds:
            return None
        pace = sum(self._step_seconds) / len(self._step_seconds)
        return round(pace * max(0, self._players.total_steps - state.step))
