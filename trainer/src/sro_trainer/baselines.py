"""Rewriters that learn nothing: what a leader must beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sro_trainer.logps import per_token_logps
from sro_trainer.tokens import Codec, pad

GAP = "\0"
CANDIDATES = 4
"""Fillings of a gap that are compared, the empty one apart."""
_LOOKED_AT = 64
"""Tokens that are looked through for candidates."""
_BATCH = 16
_MARKS = ".,;:!?\"'()*-"


def delete_words(text: str, words: Sequence[str]) -> str:
    """The text without the words of a lexicon, case and punctuation around a word ignored."""
    return " ".join(piece for piece in gaps(text, words) if piece != GAP)


def gaps(text: str, words: Sequence[str]) -> list[str]:
    """The text's words, with `GAP` in the place of each that is in the lexicon."""
    lexicon = frozenset(words)
    return [GAP if word.strip(_MARKS).casefold() in lexicon else word for word in text.split()]


class Infiller:
    """Mask and infill by a causal leader, as it is before it learns.

    It reads a text from left to right. At a gap it takes the words that it finds most probable next, none of the lexicon among
    them, and keeps the one with which the whole text, later gaps left out, is most probable per token; or none, where that is
    more probable.
    """

    def __init__(self, model: PreTrainedModel, codec: Codec, words: Sequence[str]) -> None:
        self._model = model
        self._codec = codec
        self._words = tuple(words)
        self._lexicon = frozenset(words)

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Paraphrases, in the order of the texts."""
        pieces = [gaps(text, self._words) for text in texts]
        while open_rows := [row for row, found in enumerate(pieces) if GAP in found]:
            for row, filled in zip(open_rows, self._fill_first([pieces[row] for row in open_rows]), strict=True):
                pieces[row] = filled
        return [" ".join(found) for found in pieces]

    def _fill_first(self, rows: list[list[str]]) -> list[list[str]]:
        """Each row with its first gap filled; all rows at once, since one row alone leaves a processor idle."""
        places = [pieces.index(GAP) for pieces in rows]
        befores = [pieces[:place] for pieces, place in zip(rows, places, strict=True)]
        afters = [pieces[place + 1 :] for pieces, place in zip(rows, places, strict=True)]
        fillings = [[[], *([word] for word in words)] for words in self._next_words([" ".join(b) for b in befores])]
        candidates = [
            " ".join([*before, *filling, *(piece for piece in after if piece != GAP)])
            for before, after, choices in zip(befores, afters, fillings, strict=True)
            for filling in choices
        ]
        scores = iter(self._mean_logps(candidates))
        best = [max(choices, key=lambda _: next(scores)) for choices in fillings]
        return [[*before, *filling, *after] for before, filling, after in zip(befores, best, afters, strict=True)]

    @torch.no_grad()
    def _next_words(self, starts: Sequence[str]) -> list[list[str]]:
        words: dict[int, list[str]] = {}
        for rows, ids, mask in self._batches(starts):
            logits = self._model(input_ids=ids, attention_mask=mask.long()).logits
            last = mask.sum(dim=1) - 1
            tokens = (
                logits[torch.arange(len(ids), device=ids.device), last]
                .topk(min(_LOOKED_AT, logits.shape[-1]), dim=-1)
                .indices
            )
            words.update(zip(rows, (self._whole_words(row) for row in tokens.tolist()), strict=True))
        return [words[row] for row in range(len(starts))]

    def _whole_words(self, tokens: Sequence[int]) -> list[str]:
        decoded = [self._codec.tokenizer.decode([token]) for token in tokens]
        words = [text.strip() for text in decoded if text.strip().isalpha() and text[:1].isspace()]
        return [word for word in words if word.casefold() not in self._lexicon][:CANDIDATES]

    @torch.no_grad()
    def _mean_logps(self, texts: Sequence[str]) -> list[float]:
        means: dict[int, float] = {}
        for rows, ids, mask in self._batches(texts):
            logits = self._model(input_ids=ids, attention_mask=mask.long()).logits[:, :-1]
            counted = mask[:, 1:]
            sums = per_token_logps(logits[counted], ids[:, 1:], counted).sum(dim=1)
            means.update(zip(rows, (sums / counted.sum(dim=1).clamp(min=1)).tolist(), strict=True))
        return [means[row] for row in range(len(texts))]

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Places of the texts, ids and masks, padded right, with the end of sequence in front: it also begins a document."""
        tokenizer = self._codec.tokenizer
        encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=False).input_ids
        order = sorted(range(len(texts)), key=lambda row: len(encoded[row]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            padded = pad([[tokenizer.eos_token_id, *encoded[row]] for row in rows], filler=self._codec.filler)
            padded = padded.to(self._model.device)
            yield rows, padded.ids, padded.mask
