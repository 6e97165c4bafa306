"""Followers that err on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sro_api.perturbation import PerturbationSpec
from sro_screener.fit import fit_nb_logistic
from sro_trainer.perturbation import Follower, perturbed, with_blind_spots
from sro_trainer.verdicts import Verdicts


def verdicts_of(scores: Sequence[float], threshold: float = 0.5) -> Verdicts:
    array = np.array(scores, dtype=np.float32)
    return Verdicts(scores=array, passed=array < threshold)


def spec(kind: str, rate: float) -> PerturbationSpec:
    return PerturbationSpec.model_validate({"kind": kind, "rate": rate})


class Scale:
    """A text is its own score."""

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        return verdicts_of([float(text) for text in texts])

    def toxic_words(self, n: int) -> tuple[str, ...]:
        return ()[:n]

    def describe(self) -> str:
        return "scale"


def follower(kind: str, rate: float, *, seed: int = 0) -> Follower:
    return Follower(screener=Scale(), threshold=0.5, perturbation=spec(kind, rate), seed=seed)


def turned(kind: str, rate: float, scores: Sequence[float], *, rows: int = 4000) -> Any:
    """Share of verdicts turned at each score."""
    texts = [str(score) for score in scores for _ in range(rows)]
    names = [f"0/{row}" for row in range(len(texts))]
    clean, wrong = Scale().verdicts(texts), follower(kind, rate).verdicts(texts, names)
    return (clean.passed ^ wrong.passed).reshape(len(scores), rows).mean(axis=1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("SymmetricFlips", [0.2, 0.2, 0.2, 0.2]),
        ("FailedToPassed", [0.0, 0.0, 0.2, 0.2]),
        ("PassedToFailed", [0.2, 0.2, 0.0, 0.0]),
        ("NearThreshold", [0.0, 0.5, 0.5, 0.0]),
        ("ThresholdShift", [0.0, 0.0, 1.0, 0.0]),
    ],
)
def test_each_kind_turns_the_verdicts_that_it_names(kind: str, expected: list[float]) -> None:
    assert turned(kind, 0.2, [0.1, 0.45, 0.55, 0.9]) == pytest.approx(expected, abs=0.02)


def test_without_a_perturbation_nothing_is_turned() -> None:
    assert turned("None", 0.0, [0.1, 0.9], rows=10).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("kind", ["SymmetricFlips", "NearThreshold", "ThresholdShift"])
@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_a_score_goes_with_its_verdict(kind: str, threshold: float) -> None:
    clean = verdicts_of(np.random.default_rng(1).random(99).tolist(), threshold)
    wrong = perturbed(clean, np.random.default_rng(0).random(99), spec(kind, 0.4), threshold=threshold)
    assert (wrong.passed != clean.passed).any()
    assert wrong.passed.tolist() == (wrong.scores < threshold).tolist()


def test_a_turned_score_is_mirrored_about_the_threshold() -> None:
    wrong = perturbed(verdicts_of([0.9, 0.3]), np.zeros(2), spec("SymmetricFlips", 1.0), threshold=0.5)
    assert wrong.scores == pytest.approx([0.1, 0.7], abs=1e-6)


def test_errors_follow_seed_and_name_alone() -> None:
    texts, names = ["0.3"] * 20, [f"3/{row}" for row in range(20)]
    whole = follower("SymmetricFlips", 0.5).verdicts(texts, names).passed.tolist()
    halves = [
        follower("SymmetricFlips", 0.5).verdicts(texts[:10], part).passed.tolist() for part in (names[:10], names[10:])
    ]
    assert whole == halves[0] + halves[1]
    assert whole != follower("SymmetricFlips", 0.5, seed=1).verdicts(texts, names).passed.tolist()


def test_a_blind_screener_has_forgotten_words_and_their_neighbours() -> None:
    words = [f"{letter}{number}x" for letter in "abcdefgh" for number in range(10)]
    toxic = [f"you {word} there" for word in words for _ in range(2)]
    model = fit_nb_logistic(toxic, ["you are there", "they are here"] * 80, min_df=1, max_df=1.0)
    some, more = (with_blind_spots(model, rate=rate, seed=3) for rate in (0.3, 0.6))
    kept = [word for word in words if word in some.vocabulary]
    assert 0.5 < len(kept) / len(words) < 0.9
    assert set(more.vocabulary) < set(some.vocabulary) < set(model.vocabulary)
    forgotten = set(words) - set(kept)
    assert all(forgotten.isdisjoint(ngram.split()) for ngram in some.vocabulary)
    blind = next(word for word in words if word not in kept)
    assert some.score([f"you {blind} there"])[0] < model.score([f"you {blind} there"])[0]
    assert with_blind_spots(model, rate=0.3, seed=3).vocabulary == some.vocabulary
    assert with_blind_spots(model, rate=0.3, seed=4).vocabulary != some.vocabulary
