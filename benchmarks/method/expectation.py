"""Is the robust gradient unbiased? `python benchmarks/method/expectation.py [--rows 1000000]`, in seconds.

Simulates rows with a right verdict, log-ratios of paraphrase and source, and a score; turns verdicts at given rates; and
compares the mean gradient of the corrected SRO loss with that of the loss on right verdicts, on the same rows. `bias` is the mean
difference in standard errors of that difference, the larger of the two sides (paraphrase, source); within 3 is what an unbiased
estimate gives. `uncorrected` is the same for verdicts taken as they are. `spread` is the standard deviation of the row's
corrected gradient over that of the right one.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sro_api.perturbation import PerturbationSpec
from sro_trainer.loss import Scores, sro_loss
from sro_trainer.perturbation import perturbed
from sro_trainer.verdict_weights import ErrorRates, Weigher
from sro_trainer.verdicts import Verdicts

RATES = [(p, p) for p in (0.05, 0.1, 0.2, 0.3, 0.4)] + [(0.2, 0.0), (0.0, 0.2), (0.4, 0.1), (0.05, 0.5)]
"""(false pass, false fail)."""
SHARPNESS = 1.0
"""Of the soft verdict: the simulated scores are calibrated."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Mean gradients under one pair of rates."""

    false_pass: float
    false_fail: float
    soft: bool
    bias: float
    uncorrected: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Simulated rows, each of shape (rows,)."""

    paraphrase: torch.Tensor
    source: torch.Tensor
    verdicts: Verdicts
    """Without errors."""


def simulated(rows: int, *, seed: int) -> Rows:
    """Log-ratios of the size that a run reaches, and scores on both sides of the threshold that go with them."""
    generator = np.random.default_rng(seed)
    margin = generator.normal(0.4, 2.0, rows)
    # Paraphrases that pass have gained likelihood, so that an error costs something.
    paraphrase = generator.normal(0.0, 8.0, rows) + 2 * margin
    scores = (1 / (1 + np.exp(margin))).astype(np.float32)
    return Rows(
        paraphrase=torch.from_numpy(paraphrase),
        source=torch.from_numpy(generator.normal(-3.0, 8.0, rows)),
        verdicts=Verdicts(scores=scores, passed=scores < 0.5),
    )


def gradients(rows: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """d loss / d r of paraphrase and source for each row, shape (2, rows)."""
    paraphrase, source = (value.clone().requires_grad_() for value in (rows.paraphrase, rows.source))
    weight = torch.from_numpy(weights)
    scores = Scores(
        paraphrase=paraphrase, source=source[weight != 0], sourced=weight != 0, nll=torch.zeros_like(weight), weight=weight,
        group=torch.arange(len(weight)),
    )  # fmt: skip
    wanted = torch.autograd.grad(sro_loss(scores, beta=0.1, epsilon=0.1).sum(), [paraphrase, source])
    return torch.stack(wanted).numpy()


def with_errors(clean: Verdicts, rates: ErrorRates, *, seed: int) -> Verdicts:
    """Verdicts turned by the product's own perturbation, each side at its rate."""
    draws = np.random.default_rng(seed).random(len(clean.passed))
    sides = [("FailedToPassed", rates.false_pass, ~clean.passed), ("PassedToFailed", rates.false_fail, clean.passed)]
    scores, passed = clean.scores.copy(), clean.passed.copy()
    for kind, rate, side in sides:
        if rate:
            spec = PerturbationSpec.model_validate({"kind": kind, "rate": rate})
            wrong = perturbed(clean, draws, spec, threshold=0.5)
            scores[side], passed[side] = wrong.scores[side], wrong.passed[side]
    return Verdicts(scores=scores, passed=passed)


def compared(rows: Rows, rates: ErrorRates, *, soft: bool, seed: int) -> Comparison:
    """Bias and spread of the corrected gradient."""
    sharpness = SHARPNESS if soft else None
    plain, robust = Weigher(sharpness=sharpness), Weigher(sharpness=sharpness, rates=rates)
    noisy = with_errors(rows.verdicts, rates, seed=seed)
    right = gradients(rows, plain.weights(rows.verdicts))
    corrected = gradients(rows, robust.weights(noisy))
    return Comparison(
        false_pass=rates.false_pass,
        false_fail=rates.false_fail,
        soft=soft,
        bias=_standard_errors(corrected - right),
        uncorrected=_standard_errors(gradients(rows, plain.weights(noisy)) - right),
        spread=float((corrected.std(axis=1) / right.std(axis=1)).max()),
    )


def comparisons(rows: int, *, seed: int = 0) -> list[Comparison]:
    """All rates, for verdicts as they are and for soft ones."""
    simulation = simulated(rows, seed=seed)
    return [
        compared(simulation, ErrorRates(false_pass=a, false_fail=b), soft=soft, seed=seed + 1)
        for soft in (False, True)
        for a, b in RATES
    ]


def _standard_errors(difference: NDArray[np.float64]) -> float:
    """The mean in standard errors of itself: the side that is farther from 0."""
    errors = difference.mean(axis=1) / (difference.std(axis=1) / np.sqrt(difference.shape[1]))
    return float(errors[np.argmax(np.abs(errors))])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{'verdict':8} {'false pass':>10} {'false fail':>10} {'bias':>8} {'uncorrected':>12} {'spread':>7}")
    for found in comparisons(arguments.rows, seed=arguments.seed):
        kind = "soft" if found.soft else "hard"
        print(
            f"{kind:8} {found.false_pass:10.2f} {found.false_fail:10.2f} {found.bias:+8.2f} {found.uncorrected:+12.1f} "
            f"{found.spread:7.2f}"
        )


if __name__ == "__main__":
    main()
