"""The detector on states whose meaning is known, and its measure of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from sro_trainer.detector import LEAST_PAIRS, Fitted, area, fit_detector, spoilt_pairs
from sro_trainer.testing import neutral_sentences
from sro_trainer.word_states import WordReader


class PlaceReader:
    """Reads how far a word stands from its own place, which the word itself names, and noise."""

    def states(self, sentences: Sequence[Sequence[str]]) -> list[Any]:
        generator = np.random.default_rng(0)
        return [self._read(words, generator) for words in sentences]

    def _read(self, words: Sequence[str], generator: np.random.Generator) -> Any:
        named = [int(word[1:]) if word[1:].isdigit() else -9 for word in words]
        jumps = [now - before - 1 for before, now in zip([-1, *named], [*named, 6], strict=True)]
        noise = generator.normal(size=(len(jumps), 3))
        return np.column_stack([np.abs(jumps) > 0, noise]).astype(np.float32)


READER = cast(WordReader, PlaceReader())


def numbered(count: int) -> list[str]:
    """Sentences of six words, each of which names its place."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [" ".join(f"{letters[(row + place) % 26]}{place}" for place in range(6)) for row in range(count)]


def test_a_detector_finds_what_its_states_show() -> None:
    fitted = fit_detector(READER, numbered(200), seed=0)
    assert fitted.agreement.auc > 0.98
    kept_back = len(fitted.agreement.clean)
    assert kept_back == sum(len(scores) for scores in fitted.agreement.spoilt.values())
    assert 0.1 * 200 <= kept_back <= 0.2 * 200


def test_scores_are_chances() -> None:
    fitted = fit_detector(READER, numbered(200), seed=0)
    words = [numbered(1)[0].split(), ["f0", "a5", "c2", "b1", "d3", "e4"]]
    good, bad = fitted.detector.judged(READER.states(words))
    assert 0.9 < good <= 1
    assert 0 <= bad < 0.1


def test_what_was_saved_judges_alike(tmp_path: Path) -> None:
    fitted = replace(fit_detector(READER, numbered(120), seed=0), key="of these")
    fitted.save(tmp_path / "fluency.npz")
    loaded = Fitted.load(tmp_path / "fluency.npz")
    assert loaded.key == "of these"
    states = READER.states([text.split() for text in numbered(5)])
    assert loaded.detector.judged(states).tolist() == fitted.detector.judged(states).tolist()
    assert loaded.agreement.auc == fitted.agreement.auc
    assert [path.name for path in tmp_path.iterdir()] == ["fluency.npz"]


def test_too_few_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match=f"10 sentences of four words or more; {LEAST_PAIRS} are needed"):
        fit_detector(READER, numbered(10), seed=0)


def test_every_sentence_is_there_clean_and_spoilt() -> None:
    pairs = spoilt_pairs(neutral_sentences()[:70], seed=0)
    assert all(before.kind == "clean" and after.kind != "clean" and any(after.wrong) for before, after in pairs)
    assert len({after.kind for _, after in pairs}) == 7


@pytest.mark.parametrize(
    ("clean", "spoilt", "expected"),
    [([0.9, 0.8], [0.1, 0.2], 1.0), ([0.1], [0.9], 0.0), ([0.5], [0.5], 0.5), ([0.2, 0.8], [0.5], 0.5)],
    ids=["apart", "reversed", "a tie", "half"],
)
def test_the_area_is_the_chance_of_the_right_order(clean: list[float], spoilt: list[float], expected: float) -> None:
    assert area(np.array(clean), np.array(spoilt)) == expected
