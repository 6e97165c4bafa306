"""The tables of a study's report, as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.table import Table

from sro_trainer.study.report import StudyReport
from sro_trainer.study.rows import Estimate

HEADINGS = {
    "passRate": "pass (training)",
    "heldOutPassRate": "STA",
    "similarity": "SIM",
    "fluency": "FL",
    "joint": "J",
    "copyRate": "copies",
    "emptyRate": "empty",
}
"""Columns, where measured. `study.json` has every figure."""
_WIDTH = 160


def print_tables(report: StudyReport, stream: TextIO) -> None:
    """Settings, comparisons, and what is missing."""
    console = Console(file=stream)
    if not console.is_terminal:
        # A file has no width, and rich would cut the columns to 80 characters.
        console = Console(file=stream, width=_WIDTH)
    console.print(settings_table(report))
    if report.comparisons:
        console.print(comparisons_table(report))
    for line in report.missing:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def columns_of(report: StudyReport) -> list[str]:
    """The figures that any row has, in the order of the table."""
    measured = [setting.figures for setting in report.settings] + list(report.baselines.values())
    names = dict.fromkeys(name for figures in measured for name in figures)
    return [name for name in HEADINGS if name in names]


def settings_table(report: StudyReport) -> Table:
    """Baselines and settings: means over rows and seeds with 95 % intervals over rows."""
    table = Table(
        title=f"study {report.name}: {report.rows} held-out sources, rewritten greedily",
        caption="mean over seeds; 95 % bootstrap interval over sources, which does not cover how training itself varies",
    )
    table.add_column("rewriter", no_wrap=True)
    table.add_column("seeds", justify="right")
    columns = columns_of(report)
    for name in columns:
        table.add_column(HEADINGS[name], justify="right")
    for name, figures in report.baselines.items():
        table.add_row(name, "", *_cells(figures.get(column) for column in columns))
    table.add_section()
    for setting in report.settings:
        shown = setting.name.removeprefix(f"{report.name}-")
        seeds = f"{setting.finished}/{setting.cells}"
        table.add_row(shown, seeds, *_cells(setting.figures.get(column) for column in columns))
    return table


def comparisons_table(report: StudyReport) -> Table:
    """Paired differences and ratios."""
    table = Table(title="comparisons on the same sources", caption="95 % paired bootstrap intervals over sources")
    for heading in ("comparison", "figure", "cells"):
        table.add_column(heading)
    for heading in ("difference", "ratio", "harm won back"):
        table.add_column(heading, justify="right")
    table.add_column("missing")
    for entry in report.comparisons:
        cells = f"{entry.seeds[0]} : {entry.seeds[1]}"
        figures = (shown(entry.difference, signed=True), shown(entry.ratio), shown(entry.recovered, signed=True))
        table.add_row(entry.name, entry.figure, cells, *figures, entry.missing)
    return table


def shown(value: Estimate | None, *, signed: bool = False) -> str:
    """`0.731 [0.702, 0.760]`; a dash where there is none."""
    if value is None:
        return "-"
    form = "+.3f" if signed else ".3f"
    if value.low is None or value.high is None:
        return f"{value.mean:{form}}"
    return f"{value.mean:{form}} [{value.low:{form}}, {value.high:{form}}]"


def _cells(values: Iterable[Estimate | None]) -> list[str]:
    return [shown(value) for value in values]
