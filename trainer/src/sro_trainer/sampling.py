"""Drawing tokens: temperature, top-k and top-p by the Gumbel-max trick, with one generator per row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor

from sro_api.training import SamplingSpec

CANDIDATES = 1024
"""Tokens that are sorted first; the whole vocabulary is sorted only where they are not enough."""


def row_seed(*parts: int | str) -> int:
    """A 63-bit seed from names and numbers: the same on every machine and for every number of processes."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class GumbelSampler(LogitsProcessor):
    """Makes the greedy choice a draw: noise is added to the log-probabilities of the tokens that may be drawn.

    Equal in distribution to drawing from the truncated softmax, but each row has its own generator, so that a draw depends
    neither on the rows beside it nor on global state.
    """

    def __init__(self, spec: SamplingSpec, seeds: Sequence[int]) -> None:
        self._spec = spec
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(
        self,
        input_ids: Int[Tensor, "rows seq"],  # noqa: ARG002 - the name is transformers' own
        scores: Float[Tensor, "rows vocab"],
    ) -> Float[Tensor, "rows vocab"]:
        """Scores whose largest entry is the drawn token; all others are -inf."""
        logps = torch.log_softmax(scores.float() / self._spec.temperature, dim=-1)
        values, tokens = truncated(logps, top_k=self._spec.top_k, top_p=self._spec.top_p)
        chosen = (values + self._noise(values)).argmax(dim=-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens.gather(-1, chosen), 0.0)

    def _noise(self, values: Float[Tensor, "rows candidates"]) -> Float[Tensor, "rows candidates"]:
        uniform = torch.stack([torch.rand(values.shape[1], generator=generator) for generator in self._generators])
        exponential = -torch.log(uniform.clamp(min=torch.finfo(torch.float32).tiny))
        return -torch.log(exponential.clamp(min=torch.finfo(torch.float32).tiny)).to(values.device)


def truncated(
    logps: Float[Tensor, "rows vocab"], *, top_k: int, top_p: float
) -> tuple[Float[Tensor, "rows candidates"], Int[Tensor, "rows candidates"]]:
    """Log-probabilities, most probable first, with -inf where a token may not be drawn, and their ids.

    Args:
        logps: log softmax.
        top_k: keep this many; 0 keeps all.
        top_p: keep the smallest set with this total probability; 1 keeps all.
    """
    vocabulary = logps.shape[-1]
    limit = min(top_k or vocabulary, vocabulary)
    values, tokens = logps.topk(min(limit, CANDIDATES), dim=-1)
    if limit > CANDIDATES and bool((values.exp().sum(-1) < min(top_p, 1.0)).any()):
        values, tokens = logps.topk(limit, dim=-1)
    if top_k:
        # The nucleus is taken of what top-k left, as everywhere.
        values = torch.log_softmax(values, dim=-1) if limit == values.shape[-1] else values
    before = values.exp().cumsum(-1) - values.exp()
    keep = before < top_p
    keep[:, 0] = True
    return values.masked_fill(~keep, -torch.inf), tokens
