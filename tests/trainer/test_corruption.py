"""Corrupting a sentence with toxic words."""

from __future__ import annotations

import random

import pytest

from sro_api.training import WarmStartSpec
from sro_trainer.corruption import corrupt

WORDS = ("idiot", "damn")
SENTENCE = "we will meet at the old station"


def corrupted(seed: int, sentence: str = SENTENCE, **spec: object) -> str:
    return corrupt(sentence, WORDS, random.Random(seed), WarmStartSpec(**spec))


def is_subsequence(words: list[str], of: list[str]) -> bool:
    remaining = iter(of)
    return all(word in remaining for word in words)


@pytest.mark.parametrize("seed", range(30))
def test_without_replacement_the_sentence_remains_in_order_among_one_to_three_words(seed: int) -> None:
    result = corrupted(seed, replace_probability=0).split()
    toxic = [word for word in result if word in WORDS]
    assert 1 <= len(toxic) <= 3
    assert [word for word in result if word not in WORDS] == SENTENCE.split()


@pytest.mark.parametrize("seed", range(30))
def test_with_certain_replacement_no_word_is_added(seed: int) -> None:
    result = corrupted(seed, replace_probability=1).split()
    own = [word for word in result if word not in WORDS]
    assert len(result) == len(SENTENCE.split())
    assert is_subsequence(own, SENTENCE.split())
    assert 1 <= len(result) - len(own) <= 3


@pytest.mark.parametrize("seed", range(30))
def test_one_word_of_the_sentence_is_always_left(seed: int) -> None:
    result = corrupted(seed, "hello there", replace_probability=1, max_insertions=16).split()
    assert sum(word not in WORDS for word in result) >= 1


def test_the_same_generator_gives_the_same_corruption() -> None:
    assert corrupted(5) == corrupted(5)


def test_every_number_of_insertions_and_every_word_is_drawn() -> None:
    results = [corrupted(seed, replace_probability=0).split() for seed in range(200)]
    assert {len(result) - len(SENTENCE.split()) for result in results} == {1, 2, 3}
    assert {word for result in results for word in result if word in WORDS} == set(WORDS)


def test_words_are_put_at_both_ends_too() -> None:
    results = [corrupted(seed, replace_probability=0, max_insertions=1).split() for seed in range(200)]
    assert any(result[0] in WORDS for result in results)
    assert any(result[-1] in WORDS for result in results)


def test_replacement_is_as_frequent_as_asked() -> None:
    added = [len(corrupted(seed, max_insertions=1).split()) - len(SENTENCE.split()) for seed in range(2000)]
    assert sum(added) / 2000 == pytest.approx(0.65, abs=0.04)
