"""Paraphrases written by the leader: sampled for training, greedy for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessorList, PreTrainedModel

from sro_api.training import LeaderSpec
from sro_trainer.sampling import GumbelSampler, row_seed
from sro_trainer.tokens import Codec, pad

GREEDY_BATCH = 48
"""Rows that are rewritten together in an evaluation, of about equal length."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One sampled batch, `paraphrases_per_source` rows per source, the rows of a source side by side."""

    sources: tuple[str, ...]
    """The toxic text of each row."""
    source_rows: tuple[int, ...]
    """The place of each row's source among the leader's sources."""
    targets: tuple[tuple[int, ...], ...]
    """Ids that were drawn, end of sequence included where there is one."""
    paraphrases: tuple[str, ...]
    has_eos: tuple[bool, ...]


def sample(
    model: PreTrainedModel,
    codec: Codec,
    spec: LeaderSpec,
    sources: Sequence[str],
    source_rows: Sequence[int],
    *,
    seed_parts: Sequence[tuple[int | str, ...]],
) -> Rollout:
    """Draw paraphrases.

    Args:
        model: the policy as a plain model, in eval mode.
        codec: of the leader.
        spec: sampling parameters and token limits.
        sources: toxic texts.
        source_rows: their places among the leader's sources.
        seed_parts: what each source's draws are seeded with; the number of the paraphrase is added.
    """
    count = spec.sampling.paraphrases_per_source
    rows = [row for row in range(len(sources)) for _ in range(count)]
    seeds = [row_seed(*seed_parts[row], number % count) for number, row in enumerate(rows)]
    prompts = codec.prompts([sources[row] for row in rows])
    targets = _generate(model, codec, prompts, spec.max_new_tokens, [GumbelSampler(spec.sampling, seeds)])
    return Rollout(
        sources=tuple(sources[row] for row in rows),
        source_rows=tuple(source_rows[row] for row in rows),
        targets=tuple(tuple(target) for target in targets),
        paraphrases=tuple(codec.texts(targets)),
        has_eos=tuple(codec.has_eos(target) for target in targets),
    )


def rewrite(model: PreTrainedModel, codec: Codec, sources: Sequence[str], *, max_new_tokens: int) -> list[str]:
    """Greedy paraphrases, in the order of the sources; rows of like length are written together."""
    prompts = codec.prompts(sources)
    order = sorted(range(len(sources)), key=lambda row: len(prompts[row]))
    written: dict[int, str] = {}
    for start in range(0, len(order), GREEDY_BATCH):
        rows = order[start : start + GREEDY_BATCH]
        targets = _generate(model, codec, [prompts[row] for row in rows], max_new_tokens, [])
        written.update(zip(rows, codec.texts(targets), strict=True))
    return [written[row] for row in range(len(sources))]


def _generate(
    model: PreTrainedModel, codec: Codec, prompts: Sequence[Sequence[int]], max_new_tokens: int, processors: list[Any]
) -> list[list[int]]:
    """New tokens after each prompt, up to and with the end of sequence."""
    padded = pad(prompts, filler=codec.filler, side="left" if codec.task == "causal" else "right").to(model.device)
    with torch.no_grad():
        output = model.generate(
            input_ids=padded.ids,
            attention_mask=padded.mask.long(),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=codec.filler,
            eos_token_id=sorted(codec.eos_ids),
            logits_processor=LogitsProcessorList(processors),
        )
    # A decoder starts with its start token, which was not drawn.
    new = output[:, 1:] if codec.task == "seq2seq" else output[:, padded.ids.shape[1] :]
    return [_until_eos(row, codec.eos_ids) for row in new.tolist()]


def _until_eos(ids: list[int], eos_ids: frozenset[int]) -> list[int]:
    for position, token in enumerate(ids):
        if token in eos_ids:
            return ids[: position + 1]
    return ids
