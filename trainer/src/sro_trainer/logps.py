"""Log-probabilities of given tokens, in float32, without a float32 copy of the whole batch's logits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

TOKENS_AT_ONCE = 256
"""Rows of logits that are float32 at a time: 50 MB with a vocabulary of 49,152."""
LARGEST_EXPONENT = 40.0
"""Bound on the log-ratio inside k3, beyond which exp would dominate every other row."""


class _SelectedLogProbability(torch.autograd.Function):
    """log softmax(logits)[label]; its backward recomputes the softmax piece by piece and does not keep it."""

    @staticmethod
    def forward(context: Any, logits: Tensor, labels: Tensor) -> Tensor:
        normaliser = torch.cat([piece.float().logsumexp(-1) for piece in torch.split(logits, TOKENS_AT_ONCE)])
        context.save_for_backward(logits, labels, normaliser)
        return logits.gather(-1, labels[:, None]).squeeze(-1).float() - normaliser

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        logits, labels, normaliser = context.saved_tensors
        (upstream,) = gradients
        result = torch.empty_like(logits)
        pieces = zip(
            *(torch.split(t, TOKENS_AT_ONCE) for t in (logits, labels, normaliser, upstream, result)), strict=True
        )
        for piece, label, norm, gradient, target in pieces:
            slope = (piece.float() - norm[:, None]).exp_().neg_().mul_(gradient[:, None])
            slope.scatter_add_(-1, label[:, None], gradient[:, None])
            target.copy_(slope)
        return result, None


class _HeadLogProbability(torch.autograd.Function):
    """log softmax(hidden W' + b)[label], piece by piece: no more than `TOKENS_AT_ONCE` rows of logits ever exist.

    With a frozen head the gradient towards the hidden states is the upstream number times a vector that is known in the
    forward, so the head is multiplied twice and not three times; with a learning head the backward computes the logits anew.
    """

    @staticmethod
    def forward(context: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
        frozen = context.needs_input_grad[0] and not any(context.needs_input_grad[1:3])
        selected, normalisers, directions = [], [], []
        for piece, label in zip(torch.split(hidden, TOKENS_AT_ONCE), torch.split(labels, TOKENS_AT_ONCE), strict=True):
            logits = F.linear(piece, weight, bias).float()
            normaliser = logits.logsumexp(-1)
            selected.append(logits.gather(-1, label[:, None]).squeeze(-1) - normaliser)
            normalisers.append(normaliser)
            if frozen:
                directions.append(_slope(logits, label, normaliser).to(weight.dtype) @ weight)
        if frozen:
            context.save_for_backward(torch.cat(directions))
        else:
            context.save_for_backward(hidden, weight, bias, labels, torch.cat(normalisers))
        context.frozen = frozen
        return torch.cat(selected)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        if context.frozen:
            (direction,) = context.saved_tensors
            return direction * upstream[:, None].to(direction.dtype), None, None, None
        hidden, weight, bias, labels, normaliser = context.saved_tensors
        own, for_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        for_bias = torch.zeros_like(bias) if bias is not None else None
        pieces = zip(
            *(torch.split(t, TOKENS_AT_ONCE) for t in (hidden, labels, normaliser, upstream, own)), strict=True
        )
        for piece, label, norm, gradient, target in pieces:
            logits = F.linear(piece, weight, bias).float()
            slope = _slope(logits, label, norm).mul_(gradient[:, None]).to(weight.dtype)
            torch.mm(slope, weight, out=target)
            for_weight.addmm_(slope.T, piece)
            if for_bias is not None:
                for_bias += slope.sum(0)
        return own, for_weight, for_bias, None


def _slope(logits: Tensor, labels: Tensor, normaliser: Tensor) -> Tensor:
    """Gradient of the label's log-probability towards the logits, in their place."""
    slope = logits.sub_(normaliser[:, None]).exp_().neg_()
    return slope.scatter_add_(-1, labels[:, None], torch.ones_like(normaliser)[:, None])


def head_logps(
    hidden: Float[Tensor, "tokens width"],
    weight: Float[Tensor, "vocab width"],
    bias: Float[Tensor, " vocab"] | None,
    labels: Int[Tensor, "batch seq"],
    mask: Bool[Tensor, "batch seq"],
) -> Float[Tensor, "batch seq"]:
    """Log-probability of each label, float32, from what the output head reads; exactly 0 where the mask is False.

    Args:
        hidden: for each masked-in label, row by row, the last hidden state of the token before it.
        weight: of the head, a plain linear layer.
        bias: of the head.
        labels: any id where the mask is False.
        mask: the tokens that count.
    """
    selected = _HeadLogProbability.apply(hidden, weight, bias, labels[mask])
    return torch.zeros(mask.shape, dtype=torch.float32, device=hidden.device).masked_scatter(mask, selected)


def per_token_logps(
    logits: Float[Tensor, "tokens vocab"], labels: Int[Tensor, "batch seq"], mask: Bool[Tensor, "batch seq"]
) -> Float[Tensor, "batch seq"]:
    """Log-probability of each label, float32; exactly 0 where the mask is False.

    Args:
        logits: the scores of each masked-in label, row by row: the caller has shifted them and left padding out, so that
            neither time nor a value that is not finite comes from it.
        labels: any id where the mask is False.
        mask: the tokens that count; the end of sequence is one of them.
    """
    selected = _SelectedLogProbability.apply(logits, labels[mask])
    return torch.zeros(mask.shape, dtype=torch.float32, device=logits.device).masked_scatter(mask, selected)


def mean_nll(logps: Float[Tensor, "batch seq"], mask: Bool[Tensor, "batch seq"]) -> Float[Tensor, " batch"]:
    """Negative log-likelihood per token of each row, nats; 0 for a row without tokens."""
    return -logps.sum(-1) / mask.sum(-1).clamp(min=1)


def k3_divergence(
    policy_logps: Float[Tensor, "batch seq"], reference_logps: Float[Tensor, "batch seq"]
) -> Float[Tensor, " batch"]:
    """Schulman's k3 estimate of KL(policy || reference) on tokens sampled from the policy, summed over tokens, nats.

    Never negative; masked tokens must be 0 in both.
    """
    inverse_logratio = (reference_logps - policy_logps).clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)
    return (torch.expm1(inverse_logratio) - inverse_logratio).sum(-1)
