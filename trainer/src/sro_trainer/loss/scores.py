"""What every objective reads of a part's rows, and the two steps that several of them share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The rows of one part of a batch: a row is one paraphrase, or one target of a parallel pair.

    A log-ratio r is log policy - log reference of a text given its source, in nats, float32: summed over tokens, or their
    mean where the method is length-normalised.
    """

    paraphrase: Float[Tensor, " rows"]
    """r_y of each row."""
    source: Float[Tensor, " sourced"]
    """r_x of the rows in `sourced` alone and in their order. The others have none, so nothing that is not finite can reach
    their gradient, as it would through `torch.where`."""
    sourced: Bool[Tensor, " rows"]
    """The rows whose source was scored."""
    nll: Float[Tensor, " rows"]
    """Negative log-likelihood per token of the paraphrase under the policy, nats."""
    weight: Float[Tensor, " rows"]
    """Share s of a row that counts as passed; 1 or 0 for a verdict as it is, in between for a soft one, and beyond both for
    one that is corrected for noise."""
    group: Int[Tensor, " rows"]
    """Rows with one number are paraphrases of one source, or the two sides of one pair."""
    shift: float = 0.0
    """What rewards are compared with: z0 of KTO, D of BCO."""
    failed_scale: float = 1.0
    """Factor of SRO's failed side over the whole step, in [0, 1]."""

    @property
    def passing(self) -> Bool[Tensor, " rows"]:
        """Rows with a passed side."""
        return self.weight != 0

    @property
    def failing(self) -> Bool[Tensor, " rows"]:
        """Rows with a failed side."""
        return self.weight != 1

    def pair_logratio(self, rows: Bool[Tensor, " rows"]) -> Float[Tensor, " chosen"]:
        """r_y - r_x of some of the rows whose source was scored, in their order."""
        return self.paraphrase[rows] - self.source[rows[self.sourced]]


def on_rows(
    like: Float[Tensor, " rows"], rows: Bool[Tensor, " rows"], values: Float[Tensor, " chosen"]
) -> Float[Tensor, " rows"]:
    """The values at the chosen rows and 0 at the others, with no gradient between them."""
    return torch.zeros_like(like).index_put(rows.nonzero(as_tuple=True), values)


def smoothed(margin: Float[Tensor, " rows"], *, epsilon: float) -> Float[Tensor, " rows"]:
    """Label-smoothed logistic loss, finite for any finite margin.

        softplus(-h) + epsilon h  =  -(1 - epsilon) logsigmoid(h) - epsilon logsigmoid(-h)

    Args:
        margin: h, shape (rows,), float32.
        epsilon: label smoothing in [0, 0.5); above 0 the optimum is finite, at h = ln((1 - epsilon) / epsilon).
    """
    return F.softplus(-margin) + epsilon * margin
