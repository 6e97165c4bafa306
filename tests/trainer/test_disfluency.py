"""Sentences spoilt in known ways: what is wrong with them, and where."""

from __future__ import annotations

import random

import pytest

from sro_trainer.disfluency import KINDS, LEAST_WORDS, clean, is_word, joined, normalised, split_words, spoil

SENTENCE = "The committee will meet again on Tuesday, after the holidays."
FOREIGN = ("banana", "purple")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I do n't know , you 're right !", "i don't know, you're right!"),
        ("as i said ( twice ) .", "as i said (twice)."),
        ("  Two\tspaces ", "two spaces"),
        ("", ""),
    ],
)
def test_spelling_does_not_tell_where_a_text_comes_from(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_joining_undoes_splitting() -> None:
    text = normalised(SENTENCE)
    assert joined(split_words(text)) == text


def test_a_clean_sentence_has_nothing_wrong() -> None:
    found = clean(SENTENCE)
    assert (found.text, any(found.wrong), len(found.wrong)) == (normalised(SENTENCE), False, len(found.words) + 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_a_spoilt_sentence_differs_and_says_where(kind: str, seed: int) -> None:
    found = spoil(clean(SENTENCE), kind, random.Random(seed), FOREIGN)
    assert found is not None
    assert found.kind == kind
    assert len(found.wrong) == len(found.words) + 1
    assert any(found.wrong) == (found.words != clean(SENTENCE).words)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_spoils_alike(kind: str) -> None:
    first, second = (spoil(clean(SENTENCE), kind, random.Random(7), FOREIGN) for _ in range(2))
    assert first == second


def test_a_gap_is_marked_at_the_word_after_it() -> None:
    before = clean(SENTENCE)
    found = spoil(before, "drop", random.Random(1), FOREIGN)
    assert found is not None
    place = found.wrong.index(True)
    assert found.words[:place] == before.words[:place]
    assert found.words[place : place + 1] != before.words[place : place + 1]


def test_inserted_words_are_the_wrong_ones() -> None:
    found = spoil(clean(SENTENCE), "insert", random.Random(2), FOREIGN)
    assert found is not None
    assert all(word in FOREIGN for word, wrong in zip(found.words, found.wrong, strict=False) if wrong)


def test_moving_words_keeps_them_all() -> None:
    before = clean(SENTENCE)
    for kind in ("swap", "shuffle"):
        found = spoil(before, kind, random.Random(3), FOREIGN)
        assert found is not None
        assert sorted(found.words) == sorted(before.words)


def test_a_short_sentence_is_not_spoilt() -> None:
    short = clean("no , thanks .")
    assert sum(map(is_word, short.words)) < LEAST_WORDS
    assert spoil(short, "drop", random.Random(0), FOREIGN) is None
