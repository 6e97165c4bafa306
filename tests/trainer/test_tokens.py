"""Prompts and targets as the leader reads and writes them."""

from __future__ import annotations

import pytest
import torch

from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.testing import tiny_leader, tiny_tokenizer
from sro_trainer.tokens import Codec, Task, check_special_tokens, pad, within_limit


def codec_of(family: str, template: str | None = None) -> Codec:
    tokenizer = tiny_tokenizer(family)
    task: Task = "seq2seq" if family == "t5" else "causal"
    return Codec(tokenizer, task, template, frozenset([tokenizer.eos_token_id]))


def test_a_causal_prompt_ends_where_the_target_begins() -> None:
    codec = codec_of("llama")
    prompt, target = codec.prompts(["you are stupid"])[0], codec.targets(["you are late"])[0]
    assert codec.tokenizer.decode(prompt + target) == "Toxic: you are stupid\nPolite: you are late<eos>"


def test_a_seq2seq_target_has_no_template_and_one_end() -> None:
    codec = codec_of("t5")
    eos = codec.tokenizer.eos_token_id
    target = codec.targets(["you are late"])[0]
    assert codec.texts([target]) == ["you are late"]
    assert target.count(eos) == 1
    assert target[-1] == eos
    assert codec.prompts(["you are late"])[0][-1] == eos


def test_the_template_of_the_spec_is_used() -> None:
    codec = codec_of("llama", "say kindly: {source} ->")
    assert codec.tokenizer.decode(codec.prompts(["you are late"])[0]) == "say kindly: you are late ->"


def test_a_source_that_looks_like_a_template_is_put_in_as_it_is() -> None:
    codec = codec_of("llama")
    assert codec.tokenizer.decode(codec.prompts(["{source} {0}"])[0]) == "Toxic: {source} {0}\nPolite:"


@pytest.mark.parametrize(("side", "expected"), [("right", [[5, 9], [7, 8]]), ("left", [[9, 5], [7, 8]])])
def test_padding_is_told_by_the_mask_alone(side: str, expected: list[list[int]]) -> None:
    padded = pad([[5], [7, 8]], filler=9, side=side)  # type: ignore[arg-type]
    assert padded.ids.tolist() == expected
    assert padded.mask.sum(-1).tolist() == [1, 2]


def test_a_real_token_with_the_id_of_padding_is_no_padding() -> None:
    assert pad([[2, 2], [2]], filler=2).mask.tolist() == [[True, True], [True, False]]


def test_empty_texts_get_one_masked_column() -> None:
    assert pad([[], []], filler=0).mask.tolist() == [[False], [False]]


def test_overlong_sources_are_left_out_or_refused() -> None:
    codec = codec_of("llama")
    sources = ["you are late", "you are late " * 20, "we were late"]
    assert within_limit(codec, sources, 10, "skip") == ("you are late", "we were late")
    with pytest.raises(DataError, match=r"source 2 has \d+ tokens, over leader.maxSourceTokens 10"):
        within_limit(codec, sources, 10, "error")
    with pytest.raises(DataError, match="every one of the 1 sources is longer"):
        within_limit(codec, sources[1:2], 10, "skip")


def test_a_tokenizer_without_an_end_is_refused() -> None:
    tokenizer = tiny_leader("llama").tokenizer
    tokenizer.eos_token = None
    with pytest.raises(ConfigurationError, match="no end-of-sequence token"):
        check_special_tokens(tokenizer)


def test_the_end_is_known_by_any_of_its_ids() -> None:
    tokenizer = tiny_tokenizer("llama")
    codec = Codec(tokenizer, "causal", None, frozenset([tokenizer.eos_token_id, 7]))
    assert codec.has_eos([3, 7])
    assert codec.has_eos([tokenizer.eos_token_id])
    assert not codec.has_eos([7, 3])
    assert not codec.has_eos([])
    assert torch.is_tensor(pad([[1]], filler=codec.filler).ids)
