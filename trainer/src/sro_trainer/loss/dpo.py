"""Direct preference optimization on the passed paraphrases, which alone have a pair."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sro_trainer.loss.scores import Scores, on_rows, smoothed


def dpo_loss(scores: Scores, *, beta: float, epsilon: float) -> Float[Tensor, " rows"]:
    """DPO loss of each passed paraphrase against its source; 0 where a row failed.

        L = softplus(-d) + epsilon d,  d = beta (r_y - r_x)

    Equal to SRO where everything passes.

    Args:
        scores: the source must be scored wherever a row passed.
        beta: inverse temperature of the implicit reward, > 0.
        epsilon: label smoothing in [0, 0.5), as in conservative DPO; 0 is plain DPO.

    See:
        Rafailov et al., arXiv 2305.18290; smoothing: Mitchell, A note on DPO with noisy preferences (2023).
    """
    passing = scores.passing
    losses = smoothed(beta * scores.pair_logratio(passing), epsilon=epsilon)
    return on_rows(scores.paraphrase, passing, scores.weight[passing] * losses)
