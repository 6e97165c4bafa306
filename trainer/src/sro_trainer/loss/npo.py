"""Negative preference optimization: the failed paraphrases alone."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sro_trainer.loss.scores import Scores, on_rows


def npo_loss(scores: Scores, *, beta: float) -> Float[Tensor, " rows"]:
    """NPO loss of each failed paraphrase; 0 where a row passed.

        L = (2 / beta) softplus(beta r_y)

    beta / 2 of it is the failed side of SRO without label smoothing.

    Args:
        scores: no source is read.
        beta: inverse temperature, > 0.

    See:
        Zhang et al., arXiv 2404.05868.
    """
    failing = scores.failing
    losses = (2 / beta) * F.softplus(beta * scores.paraphrase[failing])
    return on_rows(scores.paraphrase, failing, (1 - scores.weight[failing]) * losses)
