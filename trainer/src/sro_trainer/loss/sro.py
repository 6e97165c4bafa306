"""Stackelberg response optimization."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sro_trainer.loss.scores import Scores, on_rows, smoothed


def sro_loss(
    scores: Scores, *, beta: float, epsilon: float, pair_weight: float = 0.0, group_size: int = 1
) -> Float[Tensor, " rows"]:
    """Stackelberg response loss, one value per screened paraphrase.

        L_pass = l(beta (r_y - r_x))    L_fail = l(-beta r_y)    l(h) = softplus(-h) + epsilon h
        L = s L_pass + c (1 - s) L_fail + w/(k - 1) sum_j s (1 - s_j) l(beta (r_y - r_j))

    A passed paraphrase (s = 1) is preferred to its toxic source: DPO on the pair. A failed one (s = 0) has no chosen side: its
    own likelihood goes down. s between the two is a soft verdict; beyond them, one corrected for noise. The last term prefers
    it to the failed paraphrases j of the same source.

    Args:
        scores: the source must be scored wherever s is not 0. `failed_scale` is c.
        beta: inverse temperature of the implicit reward, > 0.
        epsilon: label smoothing in [0, 0.5), in all three terms.
        pair_weight: w; 0 leaves the pairs out.
        group_size: k, paraphrases per source.

    See:
        Xie, Li, Zhu, arXiv 2410.20298. Pairs within a source are DPO on the verdicts of one rollout, ours.
    """
    passing, failing = scores.passing, scores.failing
    passed = smoothed(beta * scores.pair_logratio(passing), epsilon=epsilon)
    failed = smoothed(-beta * scores.paraphrase[failing], epsilon=epsilon)
    loss = on_rows(scores.paraphrase, passing, scores.weight[passing] * passed)
    loss = loss + on_rows(scores.paraphrase, failing, scores.failed_scale * (1 - scores.weight[failing]) * failed)
    if pair_weight and group_size > 1:
        loss = loss + pair_weight / (group_size - 1) * group_pair_losses(scores, beta=beta, epsilon=epsilon)
    return loss


def group_pair_losses(scores: Scores, *, beta: float, epsilon: float) -> Float[Tensor, " rows"]:
    """For each row i, the sum over the other rows j of its source of s_i (1 - s_j) l(beta (r_i - r_j)), shape (rows,).

    With verdicts as they are, that is one pair for each passed and failed paraphrase of a source. Where verdicts flip
    independently and s is corrected for it, s_i (1 - s_j) has the mean that it has without flips.
    """
    same = scores.group[:, None] == scores.group[None, :]
    same.fill_diagonal_(False)
    weight = scores.weight[:, None] * (1 - scores.weight[None, :])
    row, other = (same & (weight != 0)).nonzero(as_tuple=True)
    losses = smoothed(beta * (scores.paraphrase[row] - scores.paraphrase[other]), epsilon=epsilon)
    return scores.paraphrase.new_zeros(len(scores.paraphrase)).index_add(0, row, weight[row, other] * losses)
