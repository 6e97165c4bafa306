"""Direct preference optimization between two paraphrases of one source."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sro_trainer.loss.scores import Scores, smoothed


def online_dpo_loss(scores: Scores, *, beta: float, epsilon: float) -> Float[Tensor, " rows"]:
    """DPO loss of each pair of paraphrases, on both of its rows, so that the mean over rows is the mean over pairs.

        L = softplus(-d) + epsilon d,  d = beta (r_chosen - r_rejected)

    Args:
        scores: chosen, rejected, chosen, rejected and so on; verdicts have decided it and are not read again.
        beta: inverse temperature of the implicit reward, > 0.
        epsilon: label smoothing in [0, 0.5); 0 is plain DPO.

    See:
        Guo et al., arXiv 2402.04792. Which row is chosen at a tie: `method.onlineDPO.ties`.
    """
    margin = beta * (scores.paraphrase[0::2] - scores.paraphrase[1::2])
    return smoothed(margin, epsilon=epsilon).repeat_interleave(2)
