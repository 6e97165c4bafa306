"""Kahneman-Tversky optimization: each paraphrase on its own, by its verdict."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sro_trainer.loss.scores import Scores


def kto_loss(scores: Scores, *, beta: float, passed_weight: float, failed_weight: float) -> Float[Tensor, " rows"]:
    """KTO loss of each paraphrase.

        passed: w_D (1 - sigmoid(beta (r_y - z0)))    failed: w_U (1 - sigmoid(beta (z0 - r_y)))

    z0 = max(0, mean of log policy - log reference over mismatched pairs of the step), without gradient. The loss lies in
    (0, w), so it is finite for any log-ratio, and its slope vanishes on both sides.

    Args:
        scores: `shift` is z0.
        beta: inverse temperature of the implicit reward, > 0.
        passed_weight: w_D, >= 0.
        failed_weight: w_U, >= 0.

    See:
        Ethayarajh et al., arXiv 2402.01306.
    """
    # 1 - sigmoid(v) is sigmoid(-v), which does not cancel.
    value = beta * (scores.paraphrase - scores.shift)
    passed, failed = passed_weight * torch.sigmoid(-value), failed_weight * torch.sigmoid(value)
    return scores.weight * passed + (1 - scores.weight) * failed
