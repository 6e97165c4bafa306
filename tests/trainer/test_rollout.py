"""Paraphrases: complete, in order, and the same however rows are put together."""

from __future__ import annotations

import pytest

from sro_api.training import LeaderSpec
from sro_trainer.rollout import rewrite, sample
from sro_trainer.testing import TinyLeader, tiny_leader, toxic_sentences
from sro_trainer.tokens import Codec, Task

SOURCES = toxic_sentences()[:6]


def codec_for(leader: TinyLeader, family: str) -> Codec:
    task: Task = "seq2seq" if family in ("t5", "bart") else "causal"
    return Codec(leader.tokenizer, task, None, frozenset([leader.tokenizer.eos_token_id]))


def spec_of(**fields: object) -> LeaderSpec:
    return LeaderSpec.model_validate({"model": "file:unused", "maxNewTokens": 6, **fields})


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5", "bart"])
def test_rows_of_a_source_lie_side_by_side_and_differ(family: str) -> None:
    leader = tiny_leader(family)
    codec = codec_for(leader, family)
    rollout = sample(
        leader.model, codec, spec_of(sampling={"paraphrasesPerSource": 2, "topP": 1.0}), SOURCES[:3], [10, 20, 30],
        seed_parts=[("s", place) for place in range(3)],
    )  # fmt: skip
    assert rollout.sources == (SOURCES[0], SOURCES[0], SOURCES[1], SOURCES[1], SOURCES[2], SOURCES[2])
    assert rollout.source_rows == (10, 10, 20, 20, 30, 30)
    assert len(set(rollout.targets)) == 6
    assert all(1 <= len(target) <= 6 for target in rollout.targets)


def test_a_target_goes_to_its_first_end_and_no_further() -> None:
    leader = tiny_leader("llama")
    # Every token ends the text.
    codec = Codec(leader.tokenizer, "causal", None, frozenset(range(len(leader.tokenizer))))
    rollout = sample(leader.model, codec, spec_of(), SOURCES, range(6), seed_parts=[(place,) for place in range(6)])
    assert [len(target) for target in rollout.targets] == [1] * 6
    assert all(rollout.has_eos)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_draw_is_the_same_alone_and_in_a_batch(family: str) -> None:
    leader = tiny_leader(family)
    codec = codec_for(leader, family)
    seeds = [("draw", place) for place in range(6)]
    together = sample(leader.model, codec, spec_of(), SOURCES, range(6), seed_parts=seeds)
    alone = [sample(leader.model, codec, spec_of(), [SOURCES[row]], [row], seed_parts=[seeds[row]]) for row in range(6)]
    assert together.targets == tuple(rollout.targets[0] for rollout in alone)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_greedy_paraphrases_come_in_the_order_of_the_sources(family: str) -> None:
    leader = tiny_leader(family)
    codec = codec_for(leader, family)
    mixed = [SOURCES[0] * 3, SOURCES[1], SOURCES[2] * 2]
    alone = [rewrite(leader.model, codec, [source], max_new_tokens=6)[0] for source in mixed]
    assert rewrite(leader.model, codec, mixed, max_new_tokens=6) == alone
