"""From what was measured and logged to a report: every rewriter with intervals, the differences, and the checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sro_api.status import EvaluationStatus, OutputStatus
from sro_trainer.bootstrap import Interval
from sro_trainer.detector import area
from sro_trainer.evaluation import EvaluationResult, differences
from sro_trainer.fluency import CorruptionDetector
from sro_trainer.instruments import Instruments
from sro_trainer.measuring import Evaluations
from sro_trainer.players import Players
from sro_trainer.report import Difference, FluencyAgreement, OverOptimisation, RunReport, VerdictsUsed


def build_report(
    name: str, evaluations: Evaluations, *, steps: int, evaluation: EvaluationStatus, output: OutputStatus, counts: dict[str, int],
    metrics: Path, verdicts: VerdictsUsed | None = None,
) -> RunReport:  # fmt: skip
    """Measure every rewriter that was kept, and compare.

    Args:
        name: of the job.
        evaluations: of the run.
        steps: optimiser steps of the game.
        evaluation: the figures in the job's status.
        output: where the result lies.
        counts: rows read, dropped and used.
        metrics: the run's `metrics.jsonl`; need not exist.
        verdicts: how the game used them.
    """
    results = all_results(evaluations)
    after = results.get("after")
    others = {} if after is None else {key: result for key, result in results.items() if key != "after"}
    against = {key: _written(differences(after, other)) for key, other in others.items() if after is not None}
    instruments = evaluations.instruments
    return RunReport(
        name=name,
        steps=steps,
        evaluation=evaluation,
        baselines={key: results[key].figures for key in results if key not in STAGES},
        differences=against.get("before", {}),
        intervals={key: _written(result.intervals()) for key, result in results.items()},
        against=against,
        instruments=instruments.describe(),
        fluency_agreement=_agreement(instruments),
        over_optimisation=over_optimisation(read_metrics(metrics)),
        verdicts=verdicts,
        output=output,
        screener=instruments.screener.describe(),
        held_out_screener=instruments.held_out.describe() if instruments.held_out else None,
        counts=counts,
    )


def verdicts_used(players: Players) -> VerdictsUsed:
    """For the report of a run."""
    weigher = players.weigher
    return VerdictsUsed(
        perturbation=players.spec.screener.perturbation,
        correction=players.spec.method.verdict_noise.correction,
        false_pass_rate=weigher.rates.false_pass,
        false_fail_rate=weigher.rates.false_fail,
        sharpness=weigher.sharpness,
        shrinkage=weigher.kept,
    )


STAGES = ("untrained", "before", "after")
"""Names of the leader's own evaluations."""


def all_results(evaluations: Evaluations) -> dict[str, EvaluationResult]:
    """Baselines and stages that were measured, by name, in the order of a table."""
    stages = {stage: evaluations.measured(stage) for stage in STAGES}
    return evaluations.baselines() | {stage: result for stage, result in stages.items() if result is not None}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def over_optimisation(metrics: list[dict[str, Any]]) -> OverOptimisation | None:
    """The check, from the game's steps; None where fewer than 8 have a held-out pass rate."""
    gaps = np.array(screener_gaps(metrics)[1])
    quarter = len(gaps) // 4
    if quarter < 2:
        return None
    first, last = gaps[:quarter], gaps[-quarter:]
    draws = np.random.default_rng(0).integers(0, quarter, size=(2, 2000, quarter))
    low, high = np.quantile(last[draws[1]].mean(axis=1) - first[draws[0]].mean(axis=1), [0.025, 0.975])
    growth = Difference(mean=float(last.mean() - first.mean()), low=float(low), high=float(high))
    suspected = growth.low > 0 and growth.mean > _NOTABLE_GROWTH
    return OverOptimisation(first=float(first.mean()), last=float(last.mean()), growth=growth, is_suspected=suspected)


def screener_gaps(metrics: list[dict[str, Any]]) -> tuple[list[int], list[float]]:
    """Steps, and the training screener's pass rate minus the held-out screener's at each."""
    game = [row for row in metrics if row.get("stage") == "Training" and row.get("held_out_pass_rate") is not None]
    return [row["step"] for row in game], [row["screener_pass_rate"] - row["held_out_pass_rate"] for row in game]


_NOTABLE_GROWTH = 0.05


def _written(measured: dict[str, Interval]) -> dict[str, Difference]:
    return {name: Difference(mean=value.mean, low=value.low, high=value.high) for name, value in measured.items()}


def _agreement(instruments: Instruments) -> FluencyAgreement | None:
    fluency = instruments.fluency
    if not isinstance(fluency, CorruptionDetector):
        return None
    found, threshold = fluency.agreement, instruments.fluent_at
    mean, low, high = found.interval()
    return FluencyAgreement(
        sentences=len(found.clean),
        area=Difference(mean=mean, low=low, high=high),
        by_kind={kind: area(found.clean, scores) for kind, scores in found.spoilt.items()},
        human_share=float((found.clean >= threshold).mean()),
        corrupted_share=float((np.concatenate(list(found.spoilt.values())) >= threshold).mean()),
    )
