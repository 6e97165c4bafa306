"""What the cells of a study have left so far: states, figures and rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sro_api.status import EvaluationFigures, EvaluationStatus
from sro_api.study_cells import Cell
from sro_api.study_results import JobRecord
from sro_trainer.report import FILE_NAME, RunReport
from sro_trainer.study.outcomes import CellState, folder_of, state_of
from sro_trainer.study.rows import Estimate, RowFigures, averaged, estimate, read_rows

TRAINED = "after"
"""The evaluation of the trained leader, among those of a cell."""
_KEPT = ("untrained", "before", TRAINED)


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One cell."""

    cell: Cell
    state: CellState
    means: Mapping[str, Mapping[str, float]]
    """Figures by evaluation or baseline, then by name."""
    rows: Mapping[str, RowFigures]
    """The same row by row, where the cell's folder is on this machine."""


def collect(cells: Iterable[Cell], root: Path) -> list[CellResult]:
    """Read what there is.

    Args:
        cells: of the study.
        root: the study's folder.
    """
    return [_collected(cell, root) for cell in cells]


def estimate_of(results: Sequence[CellResult], evaluation: str, figure: str) -> Estimate | None:
    """One figure over the finished cells of one setting, seeds averaged.

    Args:
        results: the finished cells.
        evaluation: of a cell, or a baseline.
        figure: by its name.

    Returns:
        Without an interval where rows are not known, as for cells of which a cluster told the means alone; None where
        no cell has the figure.
    """
    seeds = [result.means[evaluation][figure] for result in results if figure in result.means.get(evaluation, {})]
    if not seeds:
        return None
    rows = averaged([result.rows[evaluation] for result in results if evaluation in result.rows], figure)
    if rows is None or len(seeds) != len([result for result in results if evaluation in result.rows]):
        return Estimate(mean=sum(seeds) / len(seeds), seeds=tuple(seeds))
    return estimate(rows, seeds)


def _collected(cell: Cell, root: Path) -> CellResult:
    state, folder = state_of(cell, root), folder_of(cell, root)
    if state.state != "Finished":
        return CellResult(cell=cell, state=state, means={}, rows={})
    means = _means(folder)
    rows = {name: found for name in means if (found := read_rows(folder / "evaluations" / f"{name}.jsonl"))}
    return CellResult(cell=cell, state=state, means=means, rows=rows)


def _means(folder: Path) -> dict[str, dict[str, float]]:
    evaluation: EvaluationStatus | None
    baselines: Mapping[str, EvaluationFigures] = {}
    if (folder / FILE_NAME).is_file():
        report = RunReport.read(folder)
        evaluation, baselines = report.evaluation, report.baselines
    else:
        record = JobRecord.read(folder)
        evaluation = record.evaluation if record else None
    found = {name: figures for name in _KEPT if (figures := getattr(evaluation, name, None)) is not None}
    return {name: _numbers(figures) for name, figures in {**baselines, **found}.items()}


def _numbers(figures: EvaluationFigures) -> dict[str, float]:
    return {name: float(value) for name, value in figures.to_wire().items() if isinstance(value, (int, float))}
