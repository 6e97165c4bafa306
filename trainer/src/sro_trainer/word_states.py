"""What a frozen language model makes of each word of a sentence: hidden states of one of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, PretrainedConfig

from sro_trainer.disfluency import joined
from sro_trainer.errors import ConfigurationError, unreadable
from sro_trainer.models import load_gguf, read_config, read_tokenizer
from sro_trainer.sources_io import ModelLocation

BATCH_TOKENS = 1024
"""Padded tokens per forward: small enough for the caches of a processor."""

_LAST_NORMS = ("norm", "ln_f", "final_layer_norm")

States = NDArray[np.float32]
"""One row per word and one for the end of the sentence, shape (words + 1, width)."""


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    ids: list[int]
    pieces: list[list[int]]
    """Places in `ids` of each word's tokens, and of the end."""


class WordReader:
    """A model cut off above one of its layers.

    A causal model has read a word at its last token, and sees nothing to the right; an encoder reads all of a sentence, and a word
    is the mean of its tokens.
    """

    def __init__(self, model: Any, tokenizer: Any, *, is_causal: bool) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._is_causal = is_causal

    def states(self, sentences: Sequence[Sequence[str]]) -> list[States]:
        """Hidden states of each sentence's words, in the order of the sentences; sentences of like length are read together.

        A sentence longer than the model's positions is read in parts, each of which sees nothing of the others.
        """
        parts = [self._parts(words) for words in sentences]
        encoded = [part for sentence in parts for part in sentence]
        order = sorted(range(len(encoded)), key=lambda row: len(encoded[row].ids))
        read: dict[int, States] = {}
        for rows in _batches(order, [len(part.ids) for part in encoded]):
            read.update(zip(rows, self._read([encoded[row] for row in rows]), strict=True))
        in_order = iter(read[row] for row in range(len(encoded)))
        return [np.concatenate([next(in_order) for _ in sentence]) for sentence in parts]

    def _parts(self, words: Sequence[str]) -> list[_Encoded]:
        whole = self._encode(words)
        positions = _positions(self._model)
        if positions is None or len(whole.ids) <= positions:
            return [whole]
        begin, end = self._frame()
        return _cut(whole, begin, end, positions)

    def _encode(self, words: Sequence[str]) -> _Encoded:
        text = joined(words)
        plain = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        begin, end = self._frame()
        return _Encoded(
            ids=[*begin, *plain["input_ids"], *end],
            pieces=[*_pieces(text, words, plain["offset_mapping"], shift=len(begin)), [len(begin) + len(plain["input_ids"])]],
        )  # fmt: skip

    def _frame(self) -> tuple[list[int], list[int]]:
        if self._is_causal:
            # A document begins and ends with the same token, so that the first word is read as a first word.
            edge = self._tokenizer.convert_tokens_to_ids("<|endoftext|>")
            edge = self._tokenizer.eos_token_id if edge is None else edge
            return [edge], [edge]
        return [self._tokenizer.cls_token_id], [self._tokenizer.sep_token_id]

    @torch.no_grad()
    def _read(self, batch: Sequence[_Encoded]) -> list[States]:
        width = max(len(sentence.ids) for sentence in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        for row, sentence in enumerate(batch):
            ids[row, : len(sentence.ids)] = torch.tensor(sentence.ids)
            mask[row, : len(sentence.ids)] = 1
        device = self._model.device
        states = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
        return [self._of_words(hidden, s.pieces) for hidden, s in zip(states.float().cpu().numpy(), batch, strict=True)]

    def _of_words(self, hidden: States, pieces: Sequence[Sequence[int]]) -> States:
        if self._is_causal:
            return hidden[[tokens[-1] for tokens in pieces]]
        return np.stack([hidden[list(tokens)].mean(axis=0) for tokens in pieces])


def build_word_reader(location: ModelLocation, *, layers: int, field: str) -> WordReader:
    """Load a model's first layers, in float32.

    Args:
        location: of an encoder or a causal model, as a transformers folder or a GGUF file.
        layers: how many of its layers to keep.
        field: the field of the spec to name in an error.

    Raises:
        ConfigurationError: the model has fewer layers, or is neither kind.
        DataError: it cannot be read.
    """
    with unreadable(f"{field}: {location.folder} holds no readable model"):
        config, tokenizer = read_config(location), read_tokenizer(location)
        model = _base_model(location, config)
    return WordReader(_cut_off(model, layers, field).eval(), tokenizer, is_causal=tokenizer.cls_token_id is None)


def _base_model(location: ModelLocation, config: PretrainedConfig) -> Any:
    if location.gguf_file is None:
        return AutoModel.from_pretrained(location.folder, dtype=torch.float32, local_files_only=True)
    whole = load_gguf(AutoModelForCausalLM, location, config, torch.float32)
    return getattr(whole, whole.base_model_prefix)


def _cut_off(model: Any, layers: int, field: str) -> Any:
    """The model without the layers above: what they would make of a word is not asked for, and takes most of the time."""
    stack = next(
        (m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == model.config.num_hidden_layers), None
    )
    if stack is None or layers > len(stack):
        raise ConfigurationError(f"{field}: {layers} layers are asked of a model of {model.config.num_hidden_layers}")
    del stack[layers:]
    model.config.num_hidden_layers = layers
    for name in _LAST_NORMS:
        # Made for the last layer's states, not for these.
        if hasattr(model, name):
            setattr(model, name, nn.Identity())
    return model


def _positions(model: Any) -> int | None:
    """Tokens that the model can read at once; None where there is no limit."""
    positions: int | None = getattr(model.config, "max_position_embeddings", None)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    # RoBERTa and its kin count positions from behind the padding's.
    return positions if positions is None or padding is None else positions - padding - 1


def _cut(whole: _Encoded, begin: list[int], end: list[int], positions: int) -> list[_Encoded]:
    """Parts of at most `positions` tokens, each in the frame of a sentence of its own; of a word of more tokens, the first ones."""
    room = positions - len(begin) - len(end)
    groups: list[list[list[int]]] = [[]]
    used = 0
    for tokens in (piece[:room] for piece in whole.pieces[:-1]):
        if used + len(tokens) > room:
            groups.append([])
            used = 0
        groups[-1].append(tokens)
        used += len(tokens)
    parts = []
    for group in groups:
        ids, pieces = list(begin), []
        for tokens in group:
            pieces.append(list(range(len(ids), len(ids) + len(tokens))))
            ids += [whole.ids[token] for token in tokens]
        parts.append(_Encoded(ids=[*ids, *end], pieces=pieces))
    parts[-1].pieces.append([len(parts[-1].ids) - len(end)])
    return parts


def _batches(order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    batches: list[list[int]] = []
    for row in order:
        if batches and (len(batches[-1]) + 1) * lengths[row] <= BATCH_TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _pieces(text: str, words: Sequence[str], offsets: Sequence[tuple[int, int]], *, shift: int) -> list[list[int]]:
    """Places of each word's tokens: those that end within it or in the space before it."""
    ends, start = [], 0
    for word in words:
        start = text.index(word, start) + len(word)
        ends.append(start)
    pieces: list[list[int]] = [[] for _ in words]
    number = 0
    for token, (begin, _) in enumerate(offsets):
        while number < len(words) - 1 and begin >= ends[number]:
            number += 1
        pieces[number].append(token + shift)
    # A token that spans two words counts as the first one's; the second then has the one before it.
    for number, tokens in enumerate(pieces):
        if not tokens:
            tokens.append(pieces[number - 1][-1] if number else shift)
    return pieces
