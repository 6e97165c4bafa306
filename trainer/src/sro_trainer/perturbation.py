"""The training screener as the leader meets it: as it is, or with the errors that an experiment asks for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sro_api.perturbation import PerturbationSpec
from sro_screener import NbLogisticModel
from sro_trainer.verdicts import Screener, Verdicts

_SMALLEST = 1e-9
"""Distance that scores keep from 0 and 1 where their log-odds are taken."""


@dataclass(frozen=True, kw_only=True)
class Follower:
    """A screener and its perturbation; evaluation asks the screener itself."""

    screener: Screener
    """With its blind spots, if that is the perturbation."""
    threshold: float
    perturbation: PerturbationSpec
    seed: int

    def verdicts(self, texts: Sequence[str], names: Sequence[str]) -> Verdicts:
        """Score and pass or fail each text.

        Args:
            texts: to be judged.
            names: one per text: the same name errs alike in every run of one seed.
        """
        clean = self.screener.verdicts(texts)
        if self.perturbation.kind in ("None", "BlindSpots"):
            return clean
        draws = np.array([random.Random(f"{self.seed}/flip/{name}").random() for name in names])
        return perturbed(clean, draws, self.perturbation, threshold=self.threshold)


def perturbed(
    clean: Verdicts, draws: NDArray[np.float64], perturbation: PerturbationSpec, *, threshold: float
) -> Verdicts:
    """Verdicts with errors. A score goes with its verdict, so that nothing tells a wrong one from a right one.

    Args:
        clean: what the screener says.
        draws: uniform in [0, 1), shape (n,).
        perturbation: of a kind that needs no other screener.
        threshold: of the screener.
    """
    if perturbation.kind == "ThresholdShift":
        return _shifted(clean, threshold, threshold + perturbation.rate * (1 - threshold))
    chance = {
        "SymmetricFlips": np.full(len(draws), perturbation.rate),
        "FailedToPassed": np.where(clean.passed, 0.0, perturbation.rate),
        "PassedToFailed": np.where(clean.passed, perturbation.rate, 0.0),
        "NearThreshold": np.where(np.abs(clean.scores - threshold) < perturbation.rate, 0.5, 0.0),
    }[perturbation.kind]
    turned = draws < chance
    mirrored = _sigmoid(2 * log_odds(threshold) - log_odds(clean.scores))
    return Verdicts(scores=np.where(turned, mirrored, clean.scores).astype(np.float32), passed=clean.passed ^ turned)


def log_odds(score: NDArray[np.float32] | float) -> NDArray[np.float64]:
    """ln(s / (1 - s)), finite for any score in [0, 1]."""
    inside = np.clip(np.asarray(score, dtype=np.float64), _SMALLEST, 1 - _SMALLEST)
    odds: NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
    return odds


def with_blind_spots(model: NbLogisticModel, *, rate: float, seed: int) -> NbLogisticModel:
    """The model without a share of its words, and without every n-gram that one of them is in.

    Args:
        model: fitted.
        rate: chance of each word to be forgotten.
        seed: decides which; a word that is forgotten at one rate is so at any higher one.
    """
    words = {word for ngram in model.vocabulary for word in ngram.split(" ")}
    forgotten = {word for word in words if random.Random(f"{seed}/blind/{word}").random() < rate}
    kept = [place for place, ngram in enumerate(model.vocabulary) if forgotten.isdisjoint(ngram.split(" "))]
    return NbLogisticModel(
        vocabulary=tuple(model.vocabulary[place] for place in kept),
        idf=model.idf[kept],
        r=model.r[kept],
        coef=model.coef[kept],
        intercept=model.intercept,
        settings=model.settings,
    )


def _shifted(clean: Verdicts, threshold: float, moved: float) -> Verdicts:
    """The screener with another threshold, its scores stretched so that it lies where the old one was."""
    scores = clean.scores.astype(np.float64)
    below = scores * (threshold / moved)
    above = 1 - (1 - scores) * ((1 - threshold) / max(1 - moved, _SMALLEST))
    passed = scores < moved
    return Verdicts(scores=np.clip(np.where(passed, below, above), 0, 1).astype(np.float32), passed=passed)


def _sigmoid(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * value)), dtype=np.float64)
