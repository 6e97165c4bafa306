"""The loop that writes tokens: what transformers' own would write, row by row, whoever leaves the batch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from sro_trainer import generation
from sro_trainer.generation import Ending, is_supported, most_probable, write
from sro_trainer.testing import TinyLeader, tiny_leader, toxic_sentences
from sro_trainer.tokens import Codec, Task

FAMILIES = ["llama", "gpt2", "t5", "bart"]
SOURCES = [toxic_sentences()[0] * 2, *toxic_sentences()[1:5]]


def task_of(family: str) -> Task:
    return "seq2seq" if family in ("t5", "bart") else "causal"


def prompts_of(leader: TinyLeader, family: str) -> list[list[int]]:
    codec = Codec(leader.tokenizer, task_of(family), None, frozenset([leader.tokenizer.eos_token_id]))
    return codec.prompts(SOURCES)


def ending(*eos_ids: int, limit: int = 9) -> Ending:
    return Ending(eos_ids=frozenset(eos_ids), max_new_tokens=limit)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_rows_are_those_of_transformers(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, task = tiny_leader(family), task_of(family)
    prompts = prompts_of(leader, family)
    assert is_supported(leader.model, task)
    # Many ends, so that rows leave the batch at different times.
    stop = ending(*range(0, 60))
    ours = write(leader.model, task, prompts, stop, most_probable, filler=0)
    monkeypatch.setattr(generation, "is_supported", lambda *_: False)
    assert write(leader.model, task, prompts, stop, most_probable, filler=0) == ours


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_rows_leave_the_batch_when_they_have_ended(family: str) -> None:
    leader, task = tiny_leader(family), task_of(family)
    batches: list[list[int]] = []

    def choose(scores: Tensor, rows: Sequence[int]) -> Tensor:
        batches.append(list(rows))
        assert scores.shape[0] == len(rows)
        # Row r writes 9, 9, ... and ends after r + 1 tokens.
        return torch.tensor([5 if len(batches) > row else 9 for row in rows])

    written = write(leader.model, task, prompts_of(leader, family), ending(5), choose, filler=0)
    assert [len(row) for row in written] == [1, 2, 3, 4, 5]
    assert batches == [[0, 1, 2, 3, 4], [1, 2, 3, 4], [2, 3, 4], [3, 4], [4]]


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_several_rows_of_one_prompt_read_it_once(family: str) -> None:
    leader, task = tiny_leader(family), task_of(family)
    first, second = prompts_of(leader, family)[:2]
    seen: list[int] = []
    reader = leader.model if task == "causal" else leader.model.get_encoder()
    handle = reader.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["input_ids"].shape[0]), with_kwargs=True
    )
    together = write(leader.model, task, [first, second, first, second], ending(limit=4), most_probable, filler=0)
    handle.remove()
    assert seen[0] == 2
    assert together[0] == together[2]
    assert together[:2] == [
        write(leader.model, task, [p], ending(limit=4), most_probable, filler=0)[0] for p in (first, second)
    ]


def test_a_model_with_rules_of_its_own_is_left_to_transformers() -> None:
    leader = tiny_leader("llama")
    leader.model.generation_config.repetition_penalty = 1e6
    prompts = prompts_of(leader, "llama")
    assert not is_supported(leader.model, "causal")
    (row,) = write(leader.model, "causal", prompts[:1], ending(limit=6), most_probable, filler=0)
    assert len(set(row)) == len(row) == 6


def test_nothing_is_written_for_no_prompts() -> None:
    assert write(tiny_leader("llama").model, "causal", [], ending(), most_probable, filler=0) == []
