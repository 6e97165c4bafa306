"""Writing tokens with a plain model: a row that has ended leaves the batch, and its keys and values go with it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from sro_trainer.tokens import Task, pad

_HARMLESS = frozenset(
    {
        "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version", "use_cache", "do_sample",
        "temperature", "top_p", "top_k", "min_p", "num_beams", "max_length", "max_new_tokens", "early_stopping", "length_penalty",
        "typical_p", "_from_model_config",
    }
)  # fmt: skip
"""Fields of a generation configuration that change nothing here: what is drawn, and how long, is said by the caller."""


class Choice(Protocol):
    """Says which token comes next."""

    def __call__(self, scores: Float[Tensor, "active vocab"], rows: Sequence[int]) -> Int[Tensor, " active"]:
        """One token for each row that is still being written; `rows` are their places in the batch."""
        ...


def most_probable(
    scores: Float[Tensor, "active vocab"],
    rows: Sequence[int],  # noqa: ARG001 - a Choice has it
) -> Int[Tensor, " active"]:
    """The greedy choice."""
    return scores.argmax(dim=-1)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Where a row stops."""

    eos_ids: frozenset[int]
    max_new_tokens: int


def write(
    model: PreTrainedModel, task: Task, prompts: Sequence[Sequence[int]], ending: Ending, choose: Choice, *, filler: int
) -> list[list[int]]:
    """New tokens after each prompt, up to and with the end of sequence.

    Args:
        model: a plain model in eval mode.
        task: its kind.
        prompts: ids, at least one each; rows of one prompt are read once.
        ending: where rows stop.
        choose: of the scores of the rows that go on.
        filler: any valid id.
    """
    if not prompts:
        return []
    with torch.no_grad():
        if not is_supported(model, task):
            return _by_transformers(model, task, prompts, ending, choose, filler=filler)
        decoder = (_CausalDecoder if task == "causal" else _Seq2SeqDecoder)(model, filler, ending.max_new_tokens)
        return _written(decoder, prompts, ending, choose)


def is_supported(model: PreTrainedModel, task: Task) -> bool:
    """Whether our loop writes what `model.generate` would: a key-value cache by rows, and no rules of the model's own.

    A generation configuration with a repetition penalty, forced tokens and the like is left to transformers.
    """
    rules = {name for name, value in model.generation_config.to_diff_dict().items() if value not in (None, False)}
    return rules <= _HARMLESS and has_row_cache(model, task)


def has_row_cache(model: PreTrainedModel, task: Task) -> bool:
    """Whether the model keeps keys and values alone, by rows, so that rows can leave a batch and be repeated."""
    accepted = inspect.signature(model.forward).parameters
    needed = {"past_key_values", "position_ids"} if task == "causal" else {"past_key_values", "encoder_outputs"}
    if not needed <= accepted.keys():
        return False
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    return all(type(layer).__name__ in ("DynamicLayer", "DynamicSlidingWindowLayer") for layer in layers)


class _Decoder(Protocol):
    """A model in the midst of writing several rows."""

    def start(self, prompts: Sequence[Sequence[int]]) -> Float[Tensor, "rows vocab"]: ...

    def step(self, tokens: Int[Tensor, " active"]) -> Float[Tensor, "active vocab"]: ...

    def keep(self, places: Int[Tensor, " active"]) -> None: ...


def _written(decoder: _Decoder, prompts: Sequence[Sequence[int]], ending: Ending, choose: Choice) -> list[list[int]]:
    written: list[list[int]] = [[] for _ in prompts]
    active = list(range(len(prompts)))
    scores = decoder.start(prompts)
    for left in range(ending.max_new_tokens - 1, -1, -1):
        tokens = choose(scores, active)
        ids = tokens.tolist()
        for row, token in zip(active, ids, strict=True):
            written[row].append(token)
        going = [place for place, token in enumerate(ids) if token not in ending.eos_ids]
        if not left or not going:
            break
        if len(going) < len(active):
            active = [active[place] for place in going]
            places = torch.tensor(going, device=tokens.device)
            tokens = tokens[places]
            decoder.keep(places)
        scores = decoder.step(tokens)
    return written


class _CausalDecoder:
    """Prompts are padded on the left, so that all rows write at the same place of the cache."""

    def __init__(self, model: Any, filler: int, max_new_tokens: int) -> None:
        self._model = model
        self._filler = filler
        self._room = max_new_tokens
        self._selects = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._cache = _cache(model.config.get_text_config(decoder=True), max_new_tokens)

    def start(self, prompts: Sequence[Sequence[int]]) -> Float[Tensor, "rows vocab"]:
        """Read each different prompt once."""
        distinct, index = _distinct(prompts)
        padded = pad(distinct, filler=self._filler, side="left").to(self._model.device)
        positions = (padded.mask.long().cumsum(-1) - 1).clamp(min=0)
        scores = self._forward(padded.ids, padded.mask.long(), positions)
        # What is written is never padding: the mask of the whole row is known from the start.
        self._mask = torch.nn.functional.pad(padded.mask.long(), (0, self._room), value=1)
        self._length = padded.mask.shape[1]
        self._positions = positions[:, -1:]
        if len(index) > len(distinct):
            places = torch.tensor(index, device=scores.device)
            self.keep(places)
            scores = scores[places]
        return scores

    def step(self, tokens: Int[Tensor, " active"]) -> Float[Tensor, "active vocab"]:
        """One token more for each row."""
        self._length += 1
        self._positions = self._positions + 1
        return self._forward(tokens[:, None], self._mask[:, : self._length], self._positions)

    def keep(self, places: Int[Tensor, " active"]) -> None:
        """Go on with these rows, which may be repeated."""
        self._cache.batch_select_indices(places)
        self._mask, self._positions = self._mask[places], self._positions[places]

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Float[Tensor, "rows vocab"]:
        options: dict[str, Any] = {"logits_to_keep": 1} if self._selects else {}
        logits: Tensor = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=self._cache, use_cache=True, **options
        ).logits  # fmt: skip
        return logits[:, -1]


class _Seq2SeqDecoder:
    """Each different prompt is encoded once; no row of the decoder has padding."""

    def __init__(self, model: Any, filler: int, max_new_tokens: int) -> None:
        self._model = model
        self._filler = filler
        config = model.config.get_text_config(decoder=True)
        self._cache = EncoderDecoderCache(_cache(config, max_new_tokens), DynamicCache(config=config))

    def start(self, prompts: Sequence[Sequence[int]]) -> Float[Tensor, "rows vocab"]:
        """Read each different prompt once."""
        distinct, index = _distinct(prompts)
        padded = pad(distinct, filler=self._filler).to(self._model.device)
        encoded = self._model.get_encoder()(input_ids=padded.ids, attention_mask=padded.mask.long())
        places = torch.tensor(index, device=padded.ids.device)
        self._encoded, self._mask = encoded.last_hidden_state[places], padded.mask.long()[places]
        start = torch.full((len(prompts),), self._model.config.decoder_start_token_id, device=places.device)
        return self.step(start)

    def step(self, tokens: Int[Tensor, " active"]) -> Float[Tensor, "active vocab"]:
        """One token more for each row."""
        logits: Tensor = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded), attention_mask=self._mask,
            decoder_input_ids=tokens[:, None], past_key_values=self._cache, use_cache=True,
        ).logits  # fmt: skip
        return logits[:, -1]

    def keep(self, places: Int[Tensor, " active"]) -> None:
        """Go on with these rows."""
        self._cache.batch_select_indices(places)
        self._encoded, self._mask = self._encoded[places], self._mask[places]


class _RoomyLayer(DynamicLayer):
    """Keys and values of one layer, in buffers with room for all that will be written: a token costs no copy of the others."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._used = 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append, and return all there are."""
        start, self._used = self._used, self._used + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            size = (*key_states.shape[:-2], self._used + self._room)
            self._key_buffer = key_states.new_empty(*size, key_states.shape[-1])
            self._value_buffer = value_states.new_empty(*size, value_states.shape[-1])
        self._key_buffer[..., start : self._used, :] = key_states
        self._value_buffer[..., start : self._used, :] = value_states
        return self._show()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        self._key_buffer, self._value_buffer = self._key_buffer[indices], self._value_buffer[indices]
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys = self._key_buffer[..., : self._used, :]
        self.values = self._value_buffer[..., : self._used, :]
        return self.keys, self.values


def _cache(config: Any, max_new_tokens: int) -> DynamicCache:
    cache = DynamicCache(config=config)
    cache.layers = [_RoomyLayer(max_new_tokens) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _distinct(prompts: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """The different prompts, and the place of each row's among them."""
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(tuple(prompt) for prompt in prompts))}
    return list(places), [places[tuple(prompt)] for prompt in prompts]


class _Chosen(LogitsProcessor):
    """Makes transformers' greedy choice ours."""

    def __init__(self, choose: Choice) -> None:
        self._choose = choose

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        chosen = self._choose(scores, range(len(input_ids)))
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen[:, None], 0.0)


def _by_transformers(
    model: PreTrainedModel, task: Task, prompts: Sequence[Sequence[int]], ending: Ending, choose: Choice, *, filler: int
) -> list[list[int]]:
    padded = pad(prompts, filler=filler, side="left" if task == "causal" else "right").to(model.device)
    output = model.generate(
        input_ids=padded.ids,
        attention_mask=padded.mask.long(),
        max_new_tokens=ending.max_new_tokens,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        pad_token_id=filler,
        eos_token_id=sorted(ending.eos_ids),
        logits_processor=LogitsProcessorList([_Chosen(choose)]),
    )
    # A decoder starts with its start token, which was not drawn.
    new = output[:, 1:] if task == "seq2seq" else output[:, padded.ids.shape[1] :]
    return [_until_eos(row, ending.eos_ids) for row in new.tolist()]


def _until_eos(ids: list[int], eos_ids: frozenset[int]) -> list[int]:
    for position, token in enumerate(ids):
        if token in eos_ids:
            return ids[: position + 1]
    return ids
