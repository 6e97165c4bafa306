"""Which texts a coarse forward leaves in doubt: those whose score lies so near the threshold that its error may turn the verdict.

Eight bits move a score's log-odds by a few tenths, about alike at every score. So a verdict is another only close to the
threshold, and the texts there are few: read again in float32 they cost little, and their verdicts are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sro_trainer.forward import Forward
from sro_trainer.perturbation import log_odds

ERRORS = 1.5
"""Half the width of what is read again, in root mean squares of the error. Normal errors leave one wrong verdict of 14 then."""
MOST_READ_AGAIN = 0.5
"""Share of the sample; where more lies near the threshold, two readings gain nothing over one in float32."""
_LEAST = 1e-6
"""A float32 score nearer to 0 or 1 has rounded away its log-odds: taken as they stand, a few such would make the band."""


@dataclass(frozen=True, kw_only=True)
class SecondReading:
    """A second, exact forward for the scores in doubt."""

    forward: Forward
    band: float
    """Log-odds on both sides of the threshold."""


def band_of(scores: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """How far from the threshold a coarse score may lie and still be doubted, from the same texts' exact scores, n >= 1."""
    return ERRORS * float(np.sqrt(np.mean((_odds(scores) - _odds(reference)) ** 2)))


def in_doubt(scores: NDArray[np.float32], threshold: float, band: float) -> NDArray[np.bool_]:
    """Whether each score lies within the band."""
    return np.abs(_odds(scores) - log_odds(threshold)) < band


def _odds(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return log_odds(np.clip(scores, _LEAST, 1 - _LEAST))
