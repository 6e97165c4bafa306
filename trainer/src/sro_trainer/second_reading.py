"""Which texts a coarse forward leaves in doubt: those whose score lies so near the threshold that its error may turn the verdict.

Eight bits move a score's log-odds by a few tenths, about alike at every score. So a verdict is another only close to the
threshold, and the texts there are few: read again in float32 they cost little, and their verdicts are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sro_trainer.forward import Forward

ERRORS = 1.5
"""Half the width of what is read again, in root mean squares of the error. Normal errors leave one wrong verdict of 14 then."""
MOST_READ_AGAIN = 0.5
"""Share of the sample; where more lies near the threshold, two readings gain nothing over one in float32."""
_LEAST = 1e-6
"""Nearer to 0 and 1 than this, a float32 score has no log-odds worth comparing."""

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class SecondReading:
    """A second, exact forward for the scores in doubt."""

    forward: Forward
    band: float
    """Log-odds on both sides of the threshold."""


def log_odds(scores: Scores) -> NDArray[np.float64]:
    """Of scores in [0, 1]; finite."""
    kept = np.clip(scores.astype(np.float64), _LEAST, 1 - _LEAST)
    return np.log(kept) - np.log1p(-kept)


def band_of(scores: Scores, reference: Scores) -> float:
    """How far from the threshold a coarse score may lie and still be doubted, from the same texts' exact scores, n >= 1."""
    return ERRORS * float(np.sqrt(np.mean((log_odds(scores) - log_odds(reference)) ** 2)))


def in_doubt(scores: Scores, threshold: float, band: float) -> NDArray[np.bool_]:
    """Whether each score lies within the band."""
    return np.abs(log_odds(scores) - log_odds(np.array([threshold]))) < band
