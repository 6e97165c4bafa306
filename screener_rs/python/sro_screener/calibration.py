"""From scores to probabilities: three calibrations, and how each is fitted on texts whose label is known.

A score says which of two texts is more toxic; a probability of 0.8 says that four of five such texts are. What is fitted
belongs to one screener and is fitted on texts that the screener was not trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """Logits are divided by one number (Guo et al., arXiv 1706.04599)."""

    temperature: float
    """Above 0; above 1 for a screener that is too sure of itself."""


@dataclass(frozen=True, kw_only=True)
class Platt:
    """`sigmoid(slope * m + intercept)` of the log-odds m of the score (Platt 1999)."""

    slope: float
    """Above 0."""
    intercept: float
    """Of the log-odds."""


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """Straight lines between points, level beyond the first and the last (Zadrozny and Elkan 2002)."""

    scores: tuple[float, ...]
    """Ascending, in [0, 1]."""
    probabilities: tuple[float, ...]
    """Not descending, in [0, 1]."""


Calibration: TypeAlias = Temperature | Platt | Isotonic


def fit_platt(log_odds: Floats, is_toxic: NDArray[np.bool_], *, iterations: int = 50) -> Platt:
    """The slope and intercept of greatest likelihood, by Newton's method on Platt's smoothed targets.

    Args:
        log_odds: of each text, log(score / (1 - score)), shape (n,).
        is_toxic: of each text, shape (n,).
        iterations: most steps.

    Raises:
        ValueError: one class has no text, or higher scores are not more toxic.
    """
    positives, negatives = int(is_toxic.sum()), int((~is_toxic).sum())
    if not positives or not negatives:
        raise ValueError(f"is_toxic: has {positives} toxic and {negatives} other texts; both are needed")
    targets = np.where(is_toxic, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    features = np.stack([np.asarray(log_odds, dtype=np.float64), np.ones(len(log_odds))], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(iterations):
        p = _sigmoid(features @ weights)
        hessian = (features * (p * (1 - p))[:, None]).T @ features + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, features.T @ (p - targets))
        # A step cut short cannot overshoot where a side is nearly separable.
        weights = weights - step * min(1.0, 4.0 / float(np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    if weights[0] <= 0:
        raise ValueError(f"log_odds: a slope of {weights[0]:.3g} says that higher scores are less toxic")
    return Platt(slope=float(weights[0]), intercept=float(weights[1]))


def fit_temperature(log_odds: Floats, is_toxic: NDArray[np.bool_]) -> Temperature:
    """The temperature of greatest likelihood for two labels, in [0.05, 20], by golden sections.

    Args:
        log_odds: of each text, shape (n,).
        is_toxic: of each text, shape (n,).
    """
    signed = np.where(is_toxic, log_odds, -np.asarray(log_odds, dtype=np.float64))

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -signed / np.exp(log_temperature)).mean())

    low, high, ratio = np.log(0.05), np.log(20.0), (np.sqrt(5.0) - 1) / 2
    while high - low > 1e-6:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return Temperature(temperature=float(np.exp((low + high) / 2)))


def fit_isotonic(scores: Floats, is_toxic: NDArray[np.bool_]) -> Isotonic:
    """The rising map of least squares, by pooling neighbours that fall (Ayer et al. 1955).

    Args:
        scores: of each text, in [0, 1], shape (n,) with n >= 1.
        is_toxic: of each text, shape (n,).
    """
    points, place = np.unique(np.asarray(scores, dtype=np.float32), return_inverse=True)
    counts = np.bincount(place).astype(np.float64)
    pools: list[tuple[float, float, int]] = []
    for total, count in zip(np.bincount(place, weights=is_toxic), counts, strict=True):
        pools.append((float(total), float(count), 1))
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] >= pools[-1][0] * pools[-2][1]:
            (a, b, c), (d, e, f) = pools[-2:]
            pools[-2:] = [(a + d, b + e, c + f)]
    probabilities = np.repeat([total / count for total, count, _ in pools], [size for _, _, size in pools])
    # Of each level stretch its two ends are enough.
    ends = np.flatnonzero(np.diff(probabilities)) if len(points) > 1 else np.zeros(0, dtype=np.int64)
    kept = np.unique(np.concatenate([[0], ends, ends + 1, [len(points) - 1]])).astype(np.int64)
    return Isotonic(scores=tuple(points[kept].tolist()), probabilities=tuple(probabilities[kept].tolist()))


def log_odds_of(probabilities: Floats | Sequence[float], limit: float = 1e-7) -> NDArray[np.float64]:
    """log(p / (1 - p)), with p kept away from 0 and 1 by the limit, shape (n,)."""
    kept = np.clip(np.asarray(probabilities, dtype=np.float64), limit, 1 - limit)
    odds: NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
    return odds


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    small = np.exp(-np.abs(z))
    found: NDArray[np.float64] = np.where(z >= 0, 1 / (1 + small), small / (1 + small))
    return found
