"""What the followers and the guards say of a rollout."""

from __future__ import annotations

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
    weights: NDArray[np.float64]
    """Share of each row that counts as passed: 1 or 0 for a verdict as it is."""
    screener_passed: NDArray[np.bool_]
    """By the training screener alone, without its perturbation."""
    wrong: int
    """Verdicts that the perturbation turned."""
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
    verdicts = players.follower.verdicts(texts, [f"{step}/{first_row + row}" for row in range(len(texts))])
    perturbs = players.spec.screener.perturbation.kind != "None"
    screener_passed = players.screener.verdicts(texts).passed if perturbs else verdicts.passed
    similarities = players.encoder.similarity(rollout.sources, texts) if players.encoder else None

    fluencies = players.fluency_guard.scores(texts) if players.fluency_guard else None

    def guarded(passed: NDArray[np.bool_]) -> Guarded:
        has_eos = np.array(rollout.has_eos, dtype=np.bool_)
        return apply_guards(
            rollout.sources, texts, passed, similarities, has_eos, players.spec.guards, fluencies=fluencies
        )

    # What a guard refuses has failed for certain, whatever the screener says.
    passable = guarded(np.ones_like(verdicts.passed)).passed
    held_out = players.held_out.verdicts(texts).passed if players.held_out else None
    return Judged(
        guarded=guarded(verdicts.passed),
        weights=np.where(passable, players.weigher.weights(verdicts), 0.0),
        screener_passed=screener_passed,
        wrong=int((screener_passed != verdicts.passed).sum()),
        held_out_passed=held_out,
        similarities=similarities,
    )
