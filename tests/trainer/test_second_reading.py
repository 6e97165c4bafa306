"""Which scores of a coarse forward are doubted."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from sro_trainer.second_reading import ERRORS, band_of, in_doubt


def scores_of(*odds: float) -> NDArray[np.float32]:
    return np.array([1 / (1 + math.exp(-value)) for value in odds], dtype=np.float32)


def test_scores_that_have_come_to_their_end_are_no_errors_of_the_coarse_forward() -> None:
    ends = np.array([0, 1], dtype=np.float32)
    nearly = np.array([1e-8, 1 - 6e-8], dtype=np.float32)
    assert band_of(ends, nearly) == 0


def test_the_band_is_as_wide_as_the_errors_say() -> None:
    exact = scores_of(-2.0, 0.0, 3.0)
    assert band_of(exact, exact) == 0
    assert band_of(scores_of(-1.6, -0.4, 3.4), exact) == pytest.approx(0.4 * ERRORS)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.5, [False, True, True, False]), (float(scores_of(2.0)[0]), [False, False, False, True]), (1.0, [False] * 4)],
)
def test_scores_near_the_threshold_are_doubted(threshold: float, expected: list[bool]) -> None:
    assert in_doubt(scores_of(-2.0, -0.2, 0.3, 2.1), threshold, 0.35).tolist() == expected


def test_a_band_without_width_doubts_nothing() -> None:
    assert not in_doubt(np.array([0.5, 0.5000001], dtype=np.float32), 0.5, 0).any()
