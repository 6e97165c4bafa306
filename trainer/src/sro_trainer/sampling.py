"""Drawing tokens: temperature, top-k and top-p by the Gumbel-max trick, with one generator per row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sro_api.training import SamplingSpec

WIDTHS = (64, 1024)
"""How many of the most probable tokens are sorted, for rows whose nucleus fits; the whole vocabulary for the others."""


def row_seed(*parts: int | str) -> int:
    """A 63-bit seed from names and numbers: the same on every machine and for every number of processes."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class GumbelSampler:
    """Draws the next token of each row: the greedy choice after noise was added to the tokens that may be drawn.

    Equal in distribution to drawing from the truncated softmax, but each row has its own generator, so that for given scores
    a draw depends neither on the rows beside it nor on global state.
    """

    def __init__(self, spec: SamplingSpec, seeds: Sequence[int]) -> None:
        self._spec = spec
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, scores: Float[Tensor, "active vocab"], rows: Sequence[int]) -> Int[Tensor, " active"]:
        """One token a row; `rows` are the places of the scores' rows among the seeds."""
        logps = torch.log_softmax(scores.float() / self._spec.temperature, dim=-1)
        generators = [self._generators[row] for row in rows]
        if not self._spec.top_k and self._spec.top_p >= 1.0:
            return (logps + _gumbel(generators, logps.shape[-1], logps.device)).argmax(dim=-1)
        chosen = torch.empty(len(rows), dtype=torch.long, device=scores.device)
        for places, values, tokens in truncated(logps, top_k=self._spec.top_k, top_p=self._spec.top_p):
            own = [generators[place] for place in places.tolist()]
            # Of a row of either narrow width, equally many numbers are used up: its next draw is the same in both.
            noise = _gumbel(own, max(values.shape[-1], min(WIDTHS[-1], logps.shape[-1])), values.device)
            noise = noise[:, : values.shape[-1]]
            best = (values + noise).argmax(dim=-1, keepdim=True)
            chosen[places] = tokens.gather(-1, best).squeeze(-1)
        return chosen


def truncated(
    logps: Float[Tensor, "rows vocab"], *, top_k: int, top_p: float
) -> list[tuple[Int[Tensor, " some"], Float[Tensor, "some candidates"], Int[Tensor, "some candidates"]]]:
    """What may be drawn: (rows, log-probabilities, ids) of groups of rows that need equally many candidates.

    Log-probabilities come most probable first, with -inf where a token may not be drawn.

    Args:
        logps: log softmax.
        top_k: keep this many; 0 keeps all.
        top_p: keep the smallest set with this total probability; 1 keeps all.
    """
    vocabulary = logps.shape[-1]
    places = torch.arange(logps.shape[0], device=logps.device)
    if top_k:
        values, tokens = logps.topk(min(top_k, vocabulary), dim=-1)
        # The nucleus is taken of what top-k left, as everywhere.
        return [(places, _nucleus(torch.log_softmax(values, dim=-1), top_p), tokens)]
    groups = []
    for width in (*(width for width in WIDTHS if width < vocabulary), vocabulary):
        values, tokens = logps[places].topk(width, dim=-1)
        fits = (values.exp().sum(-1) >= top_p) if width < vocabulary else torch.ones_like(places, dtype=torch.bool)
        if bool(fits.any()):
            groups.append((places[fits], _nucleus(values[fits], top_p), tokens[fits]))
        places = places[~fits]
        if not len(places):
            break
    return groups


def _nucleus(values: Float[Tensor, "rows candidates"], top_p: float) -> Float[Tensor, "rows candidates"]:
    keep = values.exp().cumsum(-1) - values.exp() < top_p
    keep[:, 0] = True
    return values.masked_fill(~keep, -torch.inf)


def _gumbel(
    generators: Sequence[torch.Generator], width: int, device: torch.device
) -> Float[Tensor, "rows candidates"]:
    uniform = torch.stack([torch.rand(width, generator=generator) for generator in generators])
    exponential = -torch.log(uniform.clamp(min=torch.finfo(torch.float32).tiny))
    return -torch.log(exponential.clamp(min=torch.finfo(torch.float32).tiny)).to(device)
