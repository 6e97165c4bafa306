"""Rewriters that learn nothing: what a leader must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from sro_trainer.generation import has_row_cache
from sro_trainer.logps import per_token_logps
from sro_trainer.tokens import Codec, Task, pad

GAP = "\0"
CANDIDATES = 4
"""Fillings of a gap that are compared, the empty one apart."""
_LOOKED_AT = 64
"""Tokens that are looked through for candidates."""
_BATCH = 8
_MARKS = ".,;:!?\"'()*-"


def delete_words(text: str, words: Sequence[str]) -> str:
    """The text without the words of a lexicon, case and punctuation around a word ignored."""
    return " ".join(piece for piece in gaps(text, words) if piece != GAP)


def gaps(text: str, words: Sequence[str]) -> list[str]:
    """The text's words, with `GAP` in the place of each that is in the lexicon."""
    lexicon = frozenset(words)
    return [GAP if word.strip(_MARKS).casefold() in lexicon else word for word in text.split()]


def can_infill(model: PreTrainedModel, task: Task) -> bool:
    """Whether a leader can fill gaps: a causal one that keeps keys and values by rows."""
    return task == "causal" and has_row_cache(model, task)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Texts that the leader has read, padded on the left."""

    mask: Tensor
    scores: Tensor
    """Of the token that follows, shape (rows, vocab)."""
    cache: Any
    logps: Tensor
    """Of the texts, summed over their tokens, shape (rows,)."""


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
        """Each row with its first gap filled; rows of like length together, since one row alone leaves a processor idle."""
        places = [pieces.index(GAP) for pieces in rows]
        befores = [pieces[:place] for pieces, place in zip(rows, places, strict=True)]
        afters = [pieces[place + 1 :] for pieces, place in zip(rows, places, strict=True)]
        filled: dict[int, list[str]] = {}
        order = sorted(range(len(rows)), key=lambda row: len(befores[row]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            best = self._best([befores[row] for row in batch], [afters[row] for row in batch])
            filled |= {row: [*befores[row], *filling, *afters[row]] for row, filling in zip(batch, best, strict=True)}
        return [filled[row] for row in range(len(rows))]

    @torch.no_grad()
    def _best(self, befores: list[list[str]], afters: list[list[str]]) -> list[list[str]]:
        """The filling of each gap. What is before it is read once; its keys and values serve all that may come after."""
        before = self._read(self._encoded([" ".join(pieces) for pieces in befores], begins=True))
        choices = [[[], *([word] for word in words)] for words in self._next_words(before.scores)]
        index = [row for row, fillings in enumerate(choices) for _ in fillings]
        texts = [
            "".join(f" {piece}" for piece in [*filling, *(piece for piece in after if piece != GAP)])
            for after, fillings in zip(afters, choices, strict=True)
            for filling in fillings
        ]
        # The first word of a text has no space before it.
        texts = [text if befores[row] else text[1:] for row, text in zip(index, texts, strict=True)]
        means = iter(self._means(before, index, self._encoded(texts)))
        return [max(fillings, key=lambda _: next(means)) for fillings in choices]

    def _read(self, texts: list[list[int]]) -> _Read:
        padded = pad(texts, filler=self._codec.filler, side="left").to(self._model.device)
        positions = (padded.mask.long().cumsum(-1) - 1).clamp(min=0)
        output = self._model(
            input_ids=padded.ids, attention_mask=padded.mask.long(), position_ids=positions, use_cache=True,
            past_key_values=DynamicCache(config=self._model.config.get_text_config(decoder=True)),
        )  # fmt: skip
        # The end of sequence in front predicts the first token, and nothing predicts it.
        counted = padded.mask[:, 1:] & padded.mask[:, :-1]
        logps = per_token_logps(output.logits[:, :-1][counted], padded.ids[:, 1:], counted).sum(dim=1)
        return _Read(mask=padded.mask, scores=output.logits[:, -1], cache=output.past_key_values, logps=logps)

    def _means(self, before: _Read, index: list[int], texts: list[list[int]]) -> list[float]:
        """Log-probability per token of each text after what was read, that included."""
        rows = torch.tensor(index, device=before.mask.device)
        after = pad(texts, filler=self._codec.filler).to(rows.device)
        lengths = before.mask.sum(dim=1)[rows]
        before.cache.batch_select_indices(rows)
        logits = self._model(
            input_ids=after.ids, attention_mask=torch.cat([before.mask[rows], after.mask], dim=1).long(),
            position_ids=lengths[:, None] + torch.arange(after.ids.shape[1], device=rows.device),
            past_key_values=before.cache, use_cache=True,
        ).logits  # fmt: skip
        predicting = torch.cat([before.scores[rows][:, None], logits[:, :-1]], dim=1)
        sums = before.logps[rows] + per_token_logps(predicting[after.mask], after.ids, after.mask).sum(dim=1)
        means: list[float] = (sums / (lengths - 1 + after.mask.sum(dim=1)).clamp(min=1)).tolist()
        return means

    def _next_words(self, scores: Tensor) -> list[list[str]]:
        tokens = scores.topk(min(_LOOKED_AT, scores.shape[-1]), dim=-1).indices
        return [self._whole_words(row) for row in tokens.tolist()]

    def _whole_words(self, tokens: Sequence[int]) -> list[str]:
        decoded = [self._codec.tokenizer.decode([token]) for token in tokens]
        words = [text.strip() for text in decoded if text.strip().isalpha() and text[:1].isspace()]
        return [word for word in words if word.casefold() not in self._lexicon][:CANDIDATES]

    def _encoded(self, texts: list[str], *, begins: bool = False) -> list[list[int]]:
        """Ids; of texts that begin a document with the end of sequence in front, which also begins one."""
        tokenizer = self._codec.tokenizer
        rows: list[list[int]] = tokenizer(texts, add_special_tokens=False).input_ids
        return [[tokenizer.eos_token_id, *row] for row in rows] if begins else rows
