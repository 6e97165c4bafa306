"""`report.json`: what a finished run measured and wrote, and the table that a person reads."""

from __future__ import annotations

import os
from pathlib import Path

from rich.table import Table

from sro_api.base import ApiModel
from sro_api.status import EvaluationFigures, EvaluationStatus, OutputStatus
from sro_trainer.bootstrap import Interval

FILE_NAME = "report.json"

_COLUMNS = {
    "pass_rate": "pass (training screener)",
    "held_out_pass_rate": "pass (held-out screener)",
    "similarity": "similarity",
    "joint": "J",
    "copy_rate": "copies",
    "empty_rate": "empty",
}


class Difference(ApiModel):
    """Mean of after - before over the evaluation rows, with its 95 % paired bootstrap interval."""

    mean: float
    low: float
    high: float


class RunReport(ApiModel):
    """The end of a run, as written beside the model."""

    name: str
    steps: int
    """Optimiser steps of the game."""
    evaluation: EvaluationStatus
    baselines: dict[str, EvaluationFigures] = {}
    """`duplicate` and `delete`: rewriters that learn nothing, on the same rows."""
    differences: dict[str, Difference] = {}
    """after - before, by the name of the figure."""
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


def differences(measured: dict[str, Interval]) -> dict[str, Difference]:
    """The intervals of `evaluation.intervals` as they are written."""
    return {name: Difference(mean=value.mean, low=value.low, high=value.high) for name, value in measured.items()}


def figures_table(report: RunReport) -> Table:
    """Baselines and the leader before and after, one row each; a figure that was not measured is a dash."""
    evaluation = report.evaluation
    named = {
        "source unchanged": report.baselines.get("duplicate"),
        "toxic words deleted": report.baselines.get("delete"),
        "leader, untrained": evaluation.untrained,
        "leader, before the game": evaluation.before,
        "leader, after the game": evaluation.after,
    }
    measured = {name: figures for name, figures in named.items() if figures is not None}
    rows = max((figures.rows for figures in measured.values()), default=0)
    table = Table(
        title=f"{rows} held-out sources, rewritten greedily", caption="J = mean of (held-out pass x similarity)"
    )
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
