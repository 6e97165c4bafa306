"""Weights of verdicts that may be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sro_trainer.errors import DataError
from sro_trainer.verdict_weights import (
    ErrorRates,
    Weigher,
    calibrated_sharpness,
    estimated_rates,
    pass_probability,
    shrinkage,
    unbiased,
)
from sro_trainer.verdicts import Verdicts


def verdicts_of(scores: NDArray[np.float64] | list[float], threshold: float = 0.5) -> Verdicts:
    array = np.asarray(scores, dtype=np.float32)
    return Verdicts(scores=array, passed=array < threshold)


def hard(rates: ErrorRates) -> list[float]:
    passed = np.array([True, False])
    return [float(weight) for weight in unbiased(passed.astype(np.float64), passed, rates)]


def test_without_errors_a_weight_is_the_verdict() -> None:
    assert hard(ErrorRates()) == [1.0, 0.0]


def test_symmetric_errors_give_the_known_form() -> None:
    assert hard(ErrorRates(false_pass=0.2, false_fail=0.2)) == pytest.approx([0.8 / 0.6, -0.2 / 0.6])


@pytest.mark.parametrize(("a", "b"), [(0.05, 0.05), (0.4, 0.4), (0.3, 0.0), (0.0, 0.3), (0.35, 0.1)])
@pytest.mark.parametrize("share", [1.0, 0.8, 0.3, 0.0])
def test_the_mean_over_errors_is_the_share_without(a: float, b: float, share: float) -> None:
    passed = share >= 0.5
    turns = b if passed else a
    observed, verdicts = np.array([share, 1 - share]), np.array([passed, not passed])
    weights = unbiased(observed, verdicts, ErrorRates(false_pass=a, false_fail=b))
    assert float(weights @ np.array([1 - turns, turns])) == pytest.approx(share)


def test_a_clip_bounds_the_weights_and_at_zero_takes_the_correction_back() -> None:
    rates, verdicts = ErrorRates(false_pass=0.4, false_fail=0.4), verdicts_of([0.1, 0.9])
    assert Weigher(rates=rates).weights(verdicts).tolist() == pytest.approx([3.0, -2.0])
    assert Weigher(rates=rates, clip=0.5).weights(verdicts).tolist() == [1.5, -0.5]
    assert Weigher(rates=rates, clip=0.0).weights(verdicts).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("a", "b", "rows", "expected"),
    [
        (0.0, 0.0, 8, 1.0),
        (0.4, 0.4, 8, 0.25),
        (0.2, 0.2, 8, 0.36 / 0.44),
        (0.0, 0.4, 8, 0.36 / 0.42),
        (0.4, 0.4, 800, 100 / 103),
    ],
)
def test_shrinkage_goes_with_the_errors_and_against_the_rows_of_a_step(
    a: float, b: float, rows: int, expected: float
) -> None:
    assert shrinkage(ErrorRates(false_pass=a, false_fail=b), rows=rows) == pytest.approx(expected)


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.2), (0.4, 0.4), (0.0, 0.4), (0.5, 0.1)])
@pytest.mark.parametrize("rows", [1, 8, 64])
def test_no_other_shrinkage_is_nearer_to_the_right_share(a: float, b: float, rows: int) -> None:
    """Against every f of a grid: bias and variance of a step's mean by enumeration of both rows and both verdicts."""
    rates = ErrorRates(false_pass=a, false_fail=b)
    passed, failed = hard(rates)

    def error(kept: float) -> float:
        weights = 0.5 + kept * (np.array([passed, failed]) - 0.5)
        total = 0.0
        for share, chance in ((1.0, 1 - b), (0.0, a)):
            mean = chance * weights[0] + (1 - chance) * weights[1]
            variance = chance * (weights[0] - mean) ** 2 + (1 - chance) * (weights[1] - mean) ** 2
            total += 0.5 * ((mean - share) ** 2 + variance / rows)
        return float(total)

    least = error(shrinkage(rates, rows=rows))
    assert all(least <= error(kept) + 1e-12 for kept in np.linspace(0, 1.2, 241))


def test_shrunken_weights_are_drawn_towards_one_half() -> None:
    rates, verdicts = ErrorRates(false_pass=0.4, false_fail=0.4), verdicts_of([0.1, 0.9])
    assert Weigher(rates=rates, rows=8).weights(verdicts).tolist() == pytest.approx([1.125, -0.125])
    assert Weigher(rates=rates, rows=8, clip=0.0).weights(verdicts).tolist() == [1.0, 0.0]
    assert Weigher(rows=8).weights(verdicts).tolist() == [1.0, 0.0]


def test_a_soft_verdict_is_one_half_at_the_threshold_and_goes_with_the_score() -> None:
    soft = Weigher(sharpness=1.0, threshold=0.5).weights(verdicts_of([0.1, 0.5, 0.8]))
    assert soft == pytest.approx([0.9, 0.5, 0.2], abs=1e-6)
    assert pass_probability(verdicts_of([0.2], 0.2), threshold=0.2, sharpness=3.0) == pytest.approx([0.5], abs=1e-6)


def test_rates_are_estimated_from_what_is_certain() -> None:
    rates = estimated_rates(verdicts_of([0.9, 0.8, 0.1, 0.7]), verdicts_of([0.2, 0.9]))
    assert (rates.false_pass, rates.false_fail) == (0.25, 0.5)


def test_a_screener_that_says_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"verdictNoise.correction: the screener passes 0.50 .* fails 0.50"):
        estimated_rates(verdicts_of([0.9, 0.1]), verdicts_of([0.2, 0.9]))


@pytest.mark.parametrize(
    ("rates", "clip", "rows", "costly"),
    [
        ((0.2, 0.2), None, None, False),
        ((0.4, 0.4), None, None, True),
        ((0.4, 0.4), 0.5, None, False),
        ((0.4, 0.4), None, 8, False),
        ((0.6, 0.0), None, None, True),
    ],
)
def test_a_correction_whose_weights_spread_far_is_told_unless_they_are_held(
    rates: tuple[float, float], clip: float | None, rows: int | None, costly: bool
) -> None:
    weigher = Weigher(rates=ErrorRates(false_pass=rates[0], false_fail=rates[1]), clip=clip, rows=rows)
    assert weigher.may_cost_more is costly
    reached = max(abs(weigher.weights(verdicts_of([0.1, 0.9]))))
    assert reached <= weigher.largest_weight + 1e-9


@pytest.mark.parametrize("truth", [0.3, 1.0, 3.0])
def test_the_sharpness_under_which_scores_were_drawn_is_found(truth: float) -> None:
    generator = np.random.default_rng(0)
    margins = generator.normal(0.0, 2.0, 40_000)
    neutral = generator.random(40_000) < 1 / (1 + np.exp(-truth * margins))
    scores = 1 / (1 + np.exp(margins))
    found = calibrated_sharpness(
        verdicts_of(scores[~neutral]), verdicts_of(scores[neutral]), threshold=0.5, rates=ErrorRates()
    )
    assert found == pytest.approx(truth, rel=0.08)


def test_errors_that_are_corrected_for_do_not_soften_the_verdict_as_well() -> None:
    generator = np.random.default_rng(0)
    margins = generator.normal(0.0, 3.0, 40_000)
    neutral = generator.random(40_000) < 1 / (1 + np.exp(-margins))
    turned = np.where(generator.random(40_000) < 0.2, -margins, margins)
    scores = 1 / (1 + np.exp(turned))
    toxic, other = verdicts_of(scores[~neutral]), verdicts_of(scores[neutral])
    rates = ErrorRates(false_pass=0.2, false_fail=0.2)
    assert calibrated_sharpness(toxic, other, threshold=0.5, rates=rates) == pytest.approx(1.0, rel=0.1)
    assert calibrated_sharpness(toxic, other, threshold=0.5, rates=ErrorRates()) < 0.5
