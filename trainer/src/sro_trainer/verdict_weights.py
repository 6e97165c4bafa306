"""From a verdict that may be wrong to the weight s of a row's passed side: as it is, soft, or corrected for its errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sro_trainer.errors import DataError
from sro_trainer.perturbation import log_odds
from sro_trainer.verdicts import Verdicts

MOST_ERRORS = 0.9
"""The sum of both error rates from which on an estimate is refused: weights would be ten times a verdict."""

MANY_ERRORS = 0.5
"""The sum from which on the correction can cost more than the errors: in whole runs it kept all of J at 0.4 and 0.8 of it at 0.8."""


@dataclass(frozen=True, kw_only=True)
class ErrorRates:
    """How often a screener errs, by what the text is: the flip matrix [[1 - false_fail, false_fail], [false_pass, 1 - false_pass]]."""

    false_pass: float = 0.0
    """Of the texts that should fail, the share that passes."""
    false_fail: float = 0.0
    """Of the texts that should pass, the share that fails."""

    @property
    def together(self) -> float:
        """a + b: what is left of 1 divides the corrected weights."""
        return self.false_pass + self.false_fail


@dataclass(frozen=True, kw_only=True)
class Weigher:
    """How verdicts become weights, the same over a whole run."""

    rates: ErrorRates = ErrorRates()
    """That are corrected for; none by default."""
    sharpness: float | None = None
    """k of the soft verdict sigmoid(k (log-odds of the threshold - log-odds of the score)); None takes verdicts as they are."""
    threshold: float = 0.5
    rows: int | None = None
    """Of a step, where corrected weights are shrunken for them; None leaves weights unbiased."""
    clip: float | None = None

    @property
    def may_cost_more(self) -> bool:
        """Whether the variance of the correction can cost more than the errors that it is for."""
        return self.clip is None and self.rows is None and self.rates.together > MANY_ERRORS

    @property
    def kept(self) -> float:
        """What shrinkage leaves of a weight's distance from 1/2."""
        return 1.0 if self.rows is None else shrinkage(self.rates, rows=self.rows)

    @property
    def largest_weight(self) -> float:
        """That a verdict can have on either side of a row."""
        a, b = self.rates.false_pass, self.rates.false_fail
        largest = 0.5 + self.kept * ((1 - min(a, b)) / (1 - a - b) - 0.5)
        return largest if self.clip is None else min(largest, 1 + self.clip)

    def weights(self, verdicts: Verdicts) -> NDArray[np.float64]:
        """s of each row, shape (n,)."""
        share = verdicts.passed.astype(np.float64)
        if self.sharpness is not None:
            share = pass_probability(verdicts, threshold=self.threshold, sharpness=self.sharpness)
        corrected = 0.5 + self.kept * (unbiased(share, verdicts.passed, self.rates) - 0.5)
        return corrected if self.clip is None else np.clip(corrected, -self.clip, 1 + self.clip)


def unbiased(share: NDArray[np.float64], passed: NDArray[np.bool_], rates: ErrorRates) -> NDArray[np.float64]:
    """Weights whose mean over the errors is the share without errors: the inverse of the flip matrix, applied to it.

    With a = false_pass and b = false_fail, a verdict as it is becomes

        s = (1 - a) / (1 - a - b) if it is PASSED,   -a / (1 - a - b) if it is FAILED

    and a soft one, which an error turns into 1 - share, ((1 - a) share - b (1 - share)) / (1 - a - b) where it leans to
    PASSED, ((1 - b) share - a (1 - share)) / (1 - a - b) where it leans to FAILED. L = s L_pass + (1 - s) L_fail is linear
    in s, so its mean over the errors is the loss without them. That needs errors to depend on the right verdict alone, and
    on nothing else of the text.

    Args:
        share: 1 or 0, or the soft verdict, shape (n,).
        passed: the verdict.
        rates: a + b < 1.

    See:
        Natarajan et al., Learning with Noisy Labels (NIPS 2013), lemma 1; carried to a loss with an incomplete preference.
    """
    a, b = rates.false_pass, rates.false_fail
    kept, turned = np.where(passed, 1 - a, 1 - b), np.where(passed, b, a)
    return np.asarray((kept * share - turned * (1 - share)) / (1 - a - b), dtype=np.float64)


def shrinkage(rates: ErrorRates, *, rows: int) -> float:
    """f of 1/2 + f (s - 1/2), s unbiased: the one whose mean over a step's rows is nearest to the right share in the mean square.

    Of the rows half should pass, for all that is known before the run. Their mean then has the bias (1 - f)/2, one way for
    those that should pass and the other for the rest, and the variance f^2 V / (rows (1 - a - b)^2), V = (a(1-a) + b(1-b))/2,
    so that

        f = 1 / (1 + 4 V / (rows (1 - a - b)^2))

    It is 1 without errors, goes to 1 with more rows, and to 0 as verdicts come to say nothing: then both sides of the loss
    count alike.

    Args:
        rates: a + b < 1.
        rows: that one step weighs.
    """
    a, b = rates.false_pass, rates.false_fail
    return 1 / (1 + 2 * (a * (1 - a) + b * (1 - b)) / (rows * (1 - a - b) ** 2))


def pass_probability(verdicts: Verdicts, *, threshold: float, sharpness: float) -> NDArray[np.float64]:
    """The soft verdict of each row: 1/2 at the threshold, shape (n,)."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * sharpness * _margin(verdicts, threshold))), dtype=np.float64)


def estimated_rates(toxic: Verdicts, neutral: Verdicts) -> ErrorRates:
    """Error rates on rows whose verdict is certain.

    Args:
        toxic: verdicts on rows that should fail.
        neutral: on rows that should pass.

    Raises:
        DataError: the screener errs so often that its verdicts cannot be corrected.
    """
    rates = ErrorRates(false_pass=float(toxic.passed.mean()), false_fail=float(1 - neutral.passed.mean()))
    if rates.together > MOST_ERRORS:
        raise DataError(
            f"spec.method.verdictNoise.correction: the screener passes {rates.false_pass:.2f} of the toxic and fails "
            f"{rates.false_fail:.2f} of the neutral rows that were kept from its fit; together they must not exceed {MOST_ERRORS}"
        )
    return rates


def calibrated_sharpness(toxic: Verdicts, neutral: Verdicts, *, threshold: float, rates: ErrorRates) -> float:
    """k under which rows whose verdict is certain are likeliest: temperature scaling about the threshold.

    Where errors are corrected for, they are no reason to make a verdict soft as well: a row's likelihood then allows for its
    score having been turned.

    Args:
        toxic: verdicts on rows that should fail.
        neutral: on rows that should pass.
        threshold: of the screener.
        rates: that the weights are corrected for.

    See:
        Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """
    margins = np.concatenate([-_margin(toxic, threshold), _margin(neutral, threshold)])
    # How sure a verdict of each side is to be one that was not turned, if both sides are equally common.
    a, b = rates.false_pass, rates.false_fail
    sure_passed, sure_failed = (1 - b) / (1 - b + a), (1 - a) / (1 - a + b)
    sure = np.where(np.concatenate([toxic.passed, neutral.passed]), sure_passed, sure_failed)

    def likelihood(sharpness: float) -> float:
        right = 0.5 * (1 + np.tanh(0.5 * sharpness * margins))
        return float(np.log(np.clip(sure * right + (1 - sure) * (1 - right), 1e-12, 1)).sum())

    candidates = np.exp(np.linspace(-4.0, 4.0, 161))
    return float(candidates[int(np.argmax([likelihood(float(value)) for value in candidates]))])


def _margin(verdicts: Verdicts, threshold: float) -> NDArray[np.float64]:
    return log_odds(threshold) - log_odds(verdicts.scores)
