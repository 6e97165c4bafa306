"""How sure a figure is, and a difference between two rewriters: the paired bootstrap over rows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its 95 % bootstrap interval over rows."""

    mean: float
    low: float
    high: float


def paired_interval(values: NDArray[np.float64], *, seed: int = 0) -> Interval | None:
    """Percentile bootstrap of a mean: of one rewriter's rows, or of the row-by-row differences of two.

    Args:
        values: one per row, shape (n,); rows that are NaN were not measured and are left out.
        seed: of the resampling; equal seeds draw the same rows, so that figures of one table vary together.

    Returns:
        None where no row was measured.
    """
    measured = values[np.isfinite(values)]
    if len(measured) == 0:
        return None
    draws = np.random.default_rng(seed).integers(0, len(measured), size=(_RESAMPLES, len(measured)))
    low, high = np.quantile(measured[draws].mean(axis=1), [0.025, 0.975])
    return Interval(mean=float(measured.mean()), low=float(low), high=float(high))
