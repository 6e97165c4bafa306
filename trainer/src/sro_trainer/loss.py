"""The Stackelberg response loss: what one screened paraphrase contributes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def sro_margin(
    paraphrase_logratio: Float[Tensor, " batch"],
    source_logratio: Float[Tensor, " passed"],
    passed: Bool[Tensor, " batch"],
    *,
    beta: float,
) -> Float[Tensor, " batch"]:
    """Implicit reward margin h of each paraphrase.

    Args:
        paraphrase_logratio: log policy - log reference of the paraphrase, summed over tokens, in nats.
        source_logratio: the same for the toxic source, of the passed rows alone and in their order. Failed rows have none,
            so nothing that is not finite can reach their gradient, as it would through `torch.where`.
        passed: the screener's verdict after the guards.
        beta: inverse temperature of the implicit reward, > 0.
    """
    rows = passed.nonzero(as_tuple=True)
    pairs = paraphrase_logratio[rows] - source_logratio
    return beta * (-paraphrase_logratio).index_put(rows, pairs)


def sro_loss(margin: Float[Tensor, " batch"], *, epsilon: float) -> Float[Tensor, " batch"]:
    """Stackelberg response loss, one value per screened paraphrase.

    A passed paraphrase is preferred to its toxic source (DPO on the pair). A failed one has no chosen side: its own
    likelihood is pushed down. Equal to -(1-epsilon)*logsigmoid(h) - epsilon*logsigmoid(-h), but finite for any finite h.

    Args:
        margin: h, in float32.
        epsilon: label smoothing in [0, 0.5), in both branches; above 0 the optimum is at ln((1-epsilon)/epsilon).

    See:
        Xie, Li, Zhu, arXiv 2410.20298.
    """
    return F.softplus(-margin) + epsilon * margin


def anchored_loss(
    margin: Float[Tensor, " batch"],
    paraphrase_nll: Float[Tensor, " batch"],
    passed: Bool[Tensor, " batch"],
    *,
    epsilon: float,
    anchor_weight: float,
) -> Float[Tensor, " batch"]:
    """The response loss with the anchor: mean negative log-likelihood per token of passed paraphrases, weighted.

    Args:
        margin: h, in float32.
        paraphrase_nll: negative log-likelihood per token under the policy, nats.
        passed: the screener's verdict after the guards.
        epsilon: label smoothing.
        anchor_weight: 0 leaves the anchor out.
    """
    rows = passed.nonzero(as_tuple=True)
    anchor = torch.zeros_like(margin).index_put(rows, paraphrase_nll[rows])
    return sro_loss(margin, epsilon=epsilon) + anchor_weight * anchor
