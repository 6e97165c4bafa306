"""How sure a difference between two leaders is: the paired bootstrap. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean difference with its 95 % bootstrap interval over rows."""

    mean: float
    low: float
    high: float


def paired_interval(differences: NDArray[np.float64], *, seed: int = 0) -> Interval:
    """Percentile bootstrap of a mean of per-row differences.

    Args:
        differences: after - before, one value per row, shape (n,) with n >= 1.
        seed: of the resampling; equal seeds draw the same rows, so that figures of one table vary together.
    """
    draws = np.random.default_rng(seed).integers(0, len(differences), size=(_RESAMPLES, len(differences)))
    low, high = np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])
    return Interval(mean=float(differences.mean()), low=float(low), high=float(high))
