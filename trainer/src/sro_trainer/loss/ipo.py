"""Identity preference optimization on the passed paraphrases."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sro_trainer.loss.scores import Scores, on_rows


def ipo_loss(scores: Scores, *, beta: float) -> Float[Tensor, " rows"]:
    """IPO loss of each passed paraphrase against its source; 0 where a row failed.

        L = (d - 1 / (2 beta))^2,  d = r_y - r_x

    Its optimum is finite by itself. Some implementations take means over tokens: `method.lengthNormalized` does.

    Args:
        scores: the source must be scored wherever a row passed.
        beta: strength of the regularisation, > 0: the margin aimed at is 1 / (2 beta) nats.

    See:
        Azar et al., arXiv 2310.12036, equation 17.
    """
    passing = scores.passing
    losses = (scores.pair_logratio(passing) - 1 / (2 * beta)) ** 2
    return on_rows(scores.paraphrase, passing, scores.weight[passing] * losses)
