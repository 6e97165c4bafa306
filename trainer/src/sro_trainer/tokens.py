"""Texts as the leader reads and writes them: prompts, targets and their padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sro_trainer.errors import ConfigurationError, DataError

Task = Literal["causal", "seq2seq"]
DEFAULT_TEMPLATE: dict[Task, str] = {"causal": "Toxic: {source}\nPolite:", "seq2seq": "paraphrase: {source}"}
PLACEHOLDER = "{source}"


@dataclass(frozen=True, kw_only=True)
class Padded:
    """Token ids of several texts; what is padding is known by the mask alone, never by the id."""

    ids: Int[Tensor, "rows seq"]
    mask: Bool[Tensor, "rows seq"]

    def to(self, device: torch.device) -> Padded:
        """The same on another device."""
        return Padded(ids=self.ids.to(device), mask=self.mask.to(device))

    def __getitem__(self, rows: Any) -> Padded:
        """The chosen rows, in the order given."""
        return Padded(ids=self.ids[rows], mask=self.mask[rows])


def pad(texts: Sequence[Sequence[int]], *, filler: int, side: Literal["left", "right"] = "right") -> Padded:
    """Pad to the longest text, at least one column wide."""
    width = max((len(text) for text in texts), default=1) or 1
    ids = torch.full((len(texts), width), filler, dtype=torch.long)
    mask = torch.zeros((len(texts), width), dtype=torch.bool)
    for row, text in enumerate(texts):
        if not text:
            continue
        where = slice(0, len(text)) if side == "right" else slice(width - len(text), width)
        ids[row, where] = torch.tensor(text, dtype=torch.long)
        mask[row, where] = True
    return Padded(ids=ids, mask=mask)


class Codec:
    """Between texts and the ids of one leader's prompts and targets."""

    def __init__(self, tokenizer: Any, task: Task, template: str | None, eos_ids: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.task = task
        self.template = template or DEFAULT_TEMPLATE[task]
        self.eos_ids = eos_ids
        # Any valid id will do: padding is told by the mask.
        self.filler = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)

    def prompts(self, sources: Sequence[str]) -> list[list[int]]:
        """What the leader reads for each source; a causal prompt never ends with the end of sequence."""
        texts = [self.template.replace(PLACEHOLDER, source) for source in sources]
        rows: list[list[int]] = self.tokenizer(texts).input_ids
        if self.task == "seq2seq":
            return rows
        return [row[:-1] if row and row[-1] == self.tokenizer.eos_token_id else row for row in rows]

    def targets(self, texts: Sequence[str]) -> list[list[int]]:
        """What the leader would write to give each text: without the template, with the end of sequence."""
        if self.task == "seq2seq":
            rows: list[list[int]] = self.tokenizer(text_target=list(texts)).input_ids
            return [row if row and row[-1] in self.eos_ids else [*row, self.tokenizer.eos_token_id] for row in rows]
        spaced = [f" {text}" for text in texts]
        plain: list[list[int]] = self.tokenizer(spaced, add_special_tokens=False).input_ids
        return [[*row, self.tokenizer.eos_token_id] for row in plain]

    def texts(self, targets: Sequence[Sequence[int]]) -> list[str]:
        """The written text: special tokens dropped, trimmed."""
        decoded = self.tokenizer.batch_decode([list(target) for target in targets], skip_special_tokens=True)
        return [text.strip() for text in decoded]

    def has_eos(self, target: Sequence[int]) -> bool:
        """Whether the leader ended the text itself."""
        return bool(target) and target[-1] in self.eos_ids

    def lengths(self, sources: Sequence[str]) -> list[int]:
        """Tokens of each source, without template and special tokens."""
        if not sources:
            return []
        return [len(row) for row in self.tokenizer(list(sources), add_special_tokens=False).input_ids]


def within_limit(
    codec: Codec, sources: Sequence[str], limit: int, overlong: Literal["skip", "error"]
) -> tuple[str, ...]:
    """The sources of at most `limit` tokens, in their order.

    Raises:
        DataError: one is longer and `overlong` is "error", or none is left.
    """
    lengths = codec.lengths(sources)
    kept = tuple(source for source, length in zip(sources, lengths, strict=True) if length <= limit)
    if len(kept) < len(sources) and overlong == "error":
        number = next(row for row, length in enumerate(lengths) if length > limit)
        raise DataError(
            f"spec.data.overlong: source {number + 1} has {lengths[number]} tokens, over leader.maxSourceTokens {limit}"
        )
    if not kept:
        raise DataError(f"spec.leader.maxSourceTokens: {limit}: every one of the {len(sources)} sources is longer")
    return kept


def check_special_tokens(tokenizer: Any) -> None:
    """Refuse a tokenizer without an end of sequence, which training and sampling need.

    Raises:
        ConfigurationError: it has none.
    """
    if tokenizer.eos_token_id is None:
        raise ConfigurationError("spec.leader.tokenizer: it has no end-of-sequence token, which a leader must have")
