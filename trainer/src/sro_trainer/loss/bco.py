"""Binary classifier optimization: passed against failed, about a running mean of the rewards."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sro_trainer.loss.scores import Scores


def bco_loss(scores: Scores, *, beta: float) -> Float[Tensor, " rows"]:
    """BCO loss of each paraphrase.

        passed: softplus(-(beta r_y - D))    failed: softplus(beta r_y - D)

    D is the mean of beta r_y over the rows of all earlier steps; it has no gradient. At D = 0 the failed side is that of SRO
    without label smoothing. Others take the current batch into D as well, which would make a row's loss depend on how the
    batch is divided; the first step, where every reward is 0, is the same. The density ratio for prompts of unlike kinds
    (UDM) has no use here: passed and failed rows share their sources.

    Args:
        scores: `shift` is D; no source is read.
        beta: inverse temperature of the implicit reward, > 0.

    See:
        Jung et al., arXiv 2404.04656.
    """
    reward = beta * scores.paraphrase - scores.shift
    return scores.weight * F.softplus(-reward) + (1 - scores.weight) * F.softplus(reward)
