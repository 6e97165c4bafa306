"""Paraphrases written by the leader: sampled for training, greedy for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from sro_api.training import LeaderSpec
from sro_trainer.generation import Ending, most_probable, write
from sro_trainer.sampling import GumbelSampler, row_seed
from sro_trainer.tokens import Codec

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
    ending = Ending(eos_ids=codec.eos_ids, max_new_tokens=spec.max_new_tokens)
    targets = write(model, codec.task, prompts, ending, GumbelSampler(spec.sampling, seeds), filler=codec.filler)
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
    ending = Ending(eos_ids=codec.eos_ids, max_new_tokens=max_new_tokens)
    written: dict[int, str] = {}
    for start in range(0, len(order), GREEDY_BATCH):
        rows = order[start : start + GREEDY_BATCH]
        batch = [prompts[row] for row in rows]
        targets = write(model, codec.task, batch, ending, most_probable, filler=codec.filler)
        written.update(zip(rows, codec.texts(targets), strict=True))
    return [written[row] for row in range(len(sources))]
