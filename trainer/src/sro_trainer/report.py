"""`report.json`: what a finished run measured and wrote, and the table that a person reads."""

from __future__ import annotations

import os
from pathlib import Path

from rich.table import Table

from sro_api.base import ApiModel
from sro_api.perturbation import PerturbationSpec
from sro_api.status import EvaluationFigures, EvaluationStatus, OutputStatus

FILE_NAME = "report.json"

_COLUMNS = {
    "pass_rate": "pass (training)",
    "held_out_pass_rate": "STA",
    "similarity": "SIM",
    "fluency": "FL",
    "joint": "J",
    "copy_rate": "copies",
}


class Difference(ApiModel):
    """A mean over the evaluation rows with its 95 % paired bootstrap interval: of one rewriter, or of a difference of two."""

    mean: float
    low: float
    high: float


class OverOptimisation(ApiModel):
    """Whether the leader learns to please the training screener alone: its pass rate minus the held-out screener's, per step."""

    first: float
    """Mean gap over the first quarter of the game's steps."""
    last: float
    """Mean gap over the last quarter."""
    growth: Difference
    """last - first, bootstrapped over steps."""
    is_suspected: bool
    """Whether the gap grew for certain, by its interval, and by more than 0.05."""


class FluencyAgreement(ApiModel):
    """How the fluency detector does on human-written sentences and corrupted ones that it was not fitted on."""

    sentences: int
    """Human-written ones, and as many corrupted."""
    area: Difference
    """Chance that a human-written sentence scores above a corrupted one, with its 95 % bootstrap interval."""
    by_kind: dict[str, float]
    """The same for each kind of corruption."""
    human_share: float
    """Share of the human-written sentences that count as fluent."""
    corrupted_share: float
    """Share of the corrupted ones that do."""


class VerdictsUsed(ApiModel):
    """What became of the training screener's verdicts on their way into the loss."""

    perturbation: PerturbationSpec
    """Errors that were made on purpose."""
    correction: str
    """`spec.method.verdictNoise.correction`."""
    false_pass_rate: float
    """That was corrected for: given, or estimated from rows whose verdict is certain."""
    false_fail_rate: float
    sharpness: float | None = None
    """k of the soft verdict, as calibrated; absent where verdicts are taken as they are."""
    shrinkage: float = 1.0
    """What was left of a corrected weight's distance from 1/2; all of it without `verdictNoise.shrinkage`."""


class RunReport(ApiModel):
    """The end of a run or of an evaluation, as written beside the model."""

    name: str
    steps: int
    """Optimiser steps of the game."""
    evaluation: EvaluationStatus
    baselines: dict[str, EvaluationFigures] = {}
    """Rewriters that learn nothing and the human `reference`, on the same rows."""
    differences: dict[str, Difference] = {}
    """after - before, by the name of the figure."""
    intervals: dict[str, dict[str, Difference]] = {}
    """Of every figure, by rewriter (`untrained`, `before`, `after` and the baselines) and figure."""
    against: dict[str, dict[str, Difference]] = {}
    """after - another rewriter, by the other's name and figure."""
    instruments: dict[str, str] = {}
    """What each figure was measured with."""
    fluency_agreement: FluencyAgreement | None = None
    over_optimisation: OverOptimisation | None = None
    verdicts: VerdictsUsed | None = None
    """Of the game; absent in an evaluation alone."""
    output: OutputStatus
    screener: str
    held_out_screener: str | None = None
    counts: dict[str, int] = {}
    """Rows read, dropped and used."""

    def write(self, folder: Path) -> Path:
        """Write `report.json`, whole or not at all."""
        target = folder / FILE_NAME
        staging = folder / f".{FILE_NAME}.{os.getpid()}"
        staging.write_text(self.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n", encoding="utf-8")
        os.replace(staging, target)
        return target

    @classmethod
    def read(cls, folder: Path) -> RunReport:
        """Read `report.json`.

        Raises:
            OSError: there is none.
            pydantic.ValidationError: it is no report.
        """
        return cls.model_validate_json((folder / FILE_NAME).read_text(encoding="utf-8"))


def figures_table(report: RunReport) -> Table:
    """Baselines and the leader before and after, one row each; a figure that was not measured is a dash."""
    evaluation = report.evaluation
    named = {
        "source unchanged": report.baselines.get("duplicate"),
        "toxic words deleted": report.baselines.get("delete"),
        "toxic words masked, leader fills": report.baselines.get("mask-infill"),
        "leader, untrained": evaluation.untrained,
        "leader, before the game": evaluation.before,
        "leader, after the game": evaluation.after,
        "human reference": report.baselines.get("reference"),
    }
    measured = {name: figures for name, figures in named.items() if figures is not None}
    rows = max((figures.rows for figures in measured.values()), default=0)
    caption = "J = mean of (STA x SIM x FL); STA: passed by the held-out screener; differences with 95 % paired bootstrap intervals"
    table = Table(title=f"{rows} held-out sources, rewritten greedily", caption=caption)
    table.add_column("rewriter", no_wrap=True)
    for heading in _COLUMNS.values():
        table.add_column(heading, justify="right")
    for name, figures in measured.items():
        table.add_row(name, *(_cell(getattr(figures, column)) for column in _COLUMNS))
    if report.differences:
        table.add_section()
        table.add_row("after - before", *(_range(report.differences.get(column)) for column in _COLUMNS))
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    return f"{difference.mean:+.3f}\n[{difference.low:+.3f}, {difference.high:+.3f}]"
