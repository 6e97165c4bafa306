"""What the followers and the guards say of a rollout."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sro_trainer.guards import Guarded, apply_guards
from sro_trainer.players import Players
from sro_trainer.rollout import Rollout


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Verdicts on a rollout, each of shape (rows,)."""

    guarded: Guarded
    screener_passed: NDArray[np.bool_]
    """By the training screener alone, before any flip."""
    held_out_passed: NDArray[np.bool_] | None
    similarities: NDArray[np.float32] | None


def judge(rollout: Rollout, players: Players, *, step: int, first_row: int) -> Judged:
    """Screen a rollout.

    Args:
        rollout: this rank's rows.
        players: whose followers answer.
        step: of the game.
        first_row: number of the first row within the batch of all ranks.
    """
    texts = rollout.paraphrases
    verdicts = players.screener.verdicts(texts)
    similarities = players.encoder.similarity(rollout.sources, texts) if players.encoder else None
    flips = verdict_flips(
        len(texts),
        rate=players.spec.method.verdict_flip_rate,
        seed=players.spec.optimization.seed,
        step=step,
        first_row=first_row,
    )
    guarded = apply_guards(
        rollout.sources,
        texts,
        verdicts.passed ^ flips,
        similarities,
        np.array(rollout.has_eos, dtype=np.bool_),
        players.spec.guards,
    )
    held_out = players.held_out.verdicts(texts).passed if players.held_out else None
    return Judged(guarded=guarded, screener_passed=verdicts.passed, held_out_passed=held_out, similarities=similarities)


def verdict_flips(rows: int, *, rate: float, seed: int, step: int, first_row: int) -> NDArray[np.bool_]:
    """Which verdicts are flipped, shape (rows,): a function of the seed, the step and the row, whatever rank it is on."""
    draws = [random.Random(f"{seed}/flip/{step}/{first_row + row}").random() for row in range(rows)]
    return np.array([draw < rate for draw in draws], dtype=np.bool_)
