"""A prompt and all that is scored after it in one sequence: the prompt is read once, and no target sees another. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sro_trainer.tokens import pad

_PADDING = -1
_PROMPT = 0


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One sequence per prompt: its ids, then those of its targets, one after the other."""

    ids: Int[Tensor, "prompts seq"]
    positions: Int[Tensor, "prompts seq"]
    """Of a target's tokens: as if it followed the prompt alone."""
    segments: Int[Tensor, "prompts seq"]
    """0 in the prompt, n in its n-th target, -1 in padding."""
    predictors: Int[Tensor, " tokens"]
    """For each target token, row by row, where the token before it lies in the flattened `ids`."""

    def to(self, device: torch.device) -> Packed:
        """The same on another device."""
        return Packed(**{name: value.to(device) for name, value in vars(self).items()})

    def visible(self) -> Bool[Tensor, "prompts 1 seq seq"]:
        """Which token attends to which: to the prompt and to its own target, up to itself."""
        own = self.segments[:, :, None] == self.segments[:, None, :]
        prompt = (self.segments == _PROMPT)[:, None, :]
        causal = torch.ones(own.shape[1:], dtype=torch.bool, device=own.device).tril()
        return ((own | prompt) & causal)[:, None]


def packed_rows(
    prompts: Sequence[Sequence[int]], index: Sequence[int], targets: Sequence[Sequence[int]], *, filler: int
) -> Packed:
    """Sequences of all prompts, padded right. A target that a prompt has twice is put there once.

    Args:
        prompts: ids of each prompt, at least one token each.
        index: the prompt of each target.
        targets: ids of each target.
        filler: any valid id.
    """
    sequences = [_Sequence(prompt) for prompt in prompts]
    starts = [sequences[at].place(tuple(target)) for at, target in zip(index, targets, strict=True)]
    ids = pad([sequence.ids for sequence in sequences], filler=filler)
    width = ids.ids.shape[1]
    predictors = [
        at * width + (start + place - 1 if place else len(prompts[at]) - 1)
        for at, start, target in zip(index, starts, targets, strict=True)
        for place in range(len(target))
    ]
    return Packed(
        ids=ids.ids,
        positions=pad([sequence.positions for sequence in sequences], filler=0).ids,
        segments=pad([sequence.segments for sequence in sequences], filler=_PADDING).ids,
        predictors=torch.tensor(predictors, dtype=torch.long),
    )


class _Sequence:
    """One prompt and the targets put after it so far."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._prompt_length = len(prompt)
        self._starts: dict[tuple[int, ...], int] = {}
        self.ids = list(prompt)
        self.positions = list(range(len(prompt)))
        self.segments = [_PROMPT] * len(prompt)

    def place(self, target: tuple[int, ...]) -> int:
        """Where the target begins."""
        if target not in self._starts:
            self._starts[target] = len(self.ids)
            # The last token of a target predicts nothing.
            read = target[:-1]
            self.ids += read
            self.positions += range(self._prompt_length, self._prompt_length + len(read))
            self.segments += [len(self._starts)] * len(read)
        return self._starts[target]
