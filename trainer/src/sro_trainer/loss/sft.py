"""Likelihood of texts that are taken for good: passed paraphrases (RAFT), or the human side of parallel pairs (SFT)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sro_trainer.loss.scores import Scores, on_rows


def sft_loss(scores: Scores) -> Float[Tensor, " rows"]:
    """Mean negative log-likelihood per token of each row, times its weight; no reference is read.

        L = -s (1 / |y|) sum_t log policy(y_t | x, y_<t)

    RAFT gives the passed rows of its own rollout the weight 1 and leaves the others out. Supervised fine-tuning gives it to
    every pair.

    Args:
        scores: nothing but `nll` and `weight` is read.

    See:
        Dong et al., arXiv 2304.06767 (RAFT: here with verdicts in the place of a best of k).
    """
    passing = scores.passing
    return on_rows(scores.nll, passing, scores.weight[passing] * scores.nll[passing])
