"""The report on a study: every cell, the mean of every setting, the declared comparisons, and what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, TextIO

from pydantic import Field

from sro_api.base import ApiModel
from sro_api.study import StudyComparison, StudySide
from sro_api.study_cells import matches
from sro_api.study_cli import StudyRequest
from sro_api.study_file import StudyFile
from sro_trainer.study.collected import TRAINED, CellResult, collect, estimate_of
from sro_trainer.study.rows import Estimate, Values, averaged, difference, ratio, recovered

JSON_FILE = "study.json"
HTML_FILE = "study.html"


class CellEntry(ApiModel):
    """One cell, finished or not."""

    name: str
    setting: str
    seed: int | None = None
    state: Literal["Waiting", "Unfinished", "Finished", "Failed"]
    reason: str = ""
    message: str = ""
    seconds: float | None = None
    figures: dict[str, float] = {}
    """Of the trained leader."""


class SettingEntry(ApiModel):
    """All cells that differ in their seed alone."""

    name: str
    coordinates: tuple[dict[str, str], ...] = ()
    finished: Annotated[int, Field(ge=0)]
    cells: Annotated[int, Field(ge=1)]
    figures: dict[str, Estimate] = {}


class ComparisonEntry(ApiModel):
    """A declared comparison on the same rows."""

    name: str
    figure: str
    difference: Estimate | None = None
    """of - against."""
    ratio: Estimate | None = None
    """of / against."""
    recovered: Estimate | None = None
    """(of - against) / (clean - against); without an interval where the harm itself is not beyond doubt."""
    seeds: tuple[int, int] = (0, 0)
    """Cells that were compared, on both sides: of the seeds that are finished on either, those that all sides have, if there are any."""
    missing: str = ""
    """Why it could not be made, or not whole; empty otherwise."""


class CurvePoint(ApiModel):
    """One point of a curve."""

    x: float
    figure: Estimate


class CurveEntry(ApiModel):
    """One line of one panel."""

    panel: str
    line: str
    figure: str
    points: tuple[CurvePoint, ...]


class StudyReport(ApiModel):
    """`study.json`."""

    name: str
    rows: int
    """Evaluation rows of a cell."""
    cells: tuple[CellEntry, ...]
    settings: tuple[SettingEntry, ...]
    baselines: dict[str, dict[str, Estimate]]
    comparisons: tuple[ComparisonEntry, ...]
    curves: tuple[CurveEntry, ...]
    missing: tuple[str, ...]
    """In words: cells that are not finished, figures without rows."""

    def write(self, root: Path) -> Path:
        """Write `study.json`, whole or not at all."""
        return _written(root / JSON_FILE, self.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n")


def write_report(request: StudyRequest, root: Path, stream: TextIO) -> StudyReport:
    """Write `study.json` and `study.html` and print the tables.

    Args:
        request: whose study it is.
        root: the study's folder.
        stream: where the tables go.
    """
    # Plots are drawn by a library that takes a second to load.
    from sro_trainer.study.page import study_page
    from sro_trainer.study.table import print_tables

    report = build_report(request.file, collect(request.cells, root))
    root.mkdir(parents=True, exist_ok=True)
    files = [report.write(root), _written(root / HTML_FILE, study_page(report))]
    print_tables(report, stream)
    print(f"report: {' '.join(str(file) for file in files)}", file=stream)
    return report


def build_report(file: StudyFile, results: Sequence[CellResult]) -> StudyReport:
    """What there is to say of the cells, finished or not."""
    spec = file.study.spec
    settings = tuple(_settings(results))
    finished = [result for result in results if result.state.state == "Finished"]
    return StudyReport(
        name=file.study.name,
        rows=int(next((r.means[TRAINED]["rows"] for r in finished if TRAINED in r.means), 0)),
        cells=tuple(_cell(result) for result in results),
        settings=settings,
        baselines={name: figures for name in spec.baselines if (figures := _baseline(finished, name))},
        comparisons=tuple(_comparison(entry, results) for entry in spec.comparisons),
        curves=tuple(_curves(file, results)),
        missing=tuple(_missing(results, finished, spec.baselines)),
    )


def _written(path: Path, text: str) -> Path:
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.write_text(text, encoding="utf-8")
    os.replace(staging, path)
    return path


def _cell(result: CellResult) -> CellEntry:
    cell, state = result.cell, result.state
    figures = dict(result.means.get(TRAINED, {}))
    return CellEntry(
        name=cell.name,
        setting=cell.setting,
        seed=cell.seed,
        state=state.state,
        reason=state.reason,
        message=state.message,
        seconds=state.seconds,
        figures=figures,
    )


def _settings(results: Sequence[CellResult]) -> Iterator[SettingEntry]:
    games = [result for result in results if not result.cell.is_warm_start]
    for name in dict.fromkeys(result.cell.setting for result in games):
        cells = [result for result in games if result.cell.setting == name]
        finished = [result for result in cells if result.state.state == "Finished"]
        yield SettingEntry(
            name=name,
            coordinates=cells[0].cell.coordinates,
            finished=len(finished),
            cells=len(cells),
            figures=_estimates(finished, TRAINED),
        )


def _estimates(results: Sequence[CellResult], evaluation: str) -> dict[str, Estimate]:
    names = dict.fromkeys(
        name for result in results for name in result.means.get(evaluation, {}) if name not in ("rows",)
    )
    found = {name: estimate_of(results, evaluation, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _baseline(finished: Sequence[CellResult], name: str) -> dict[str, Estimate]:
    """A baseline learns nothing: the first cell that has it speaks for all."""
    having = [result for result in finished if name in result.means]
    with_rows = [result for result in having if name in result.rows]
    return _estimates((with_rows or having)[:1], name)


def _comparison(entry: StudyComparison, results: Sequence[CellResult]) -> ComparisonEntry:
    sides = [side for side in (entry.of, entry.against, entry.clean) if side is not None and side.baseline is None]
    shared = (
        frozenset[int | None].intersection(*(_seeds(side, results) for side in sides))
        if sides
        else frozenset[int | None]()
    )
    of, of_lacks = _side(entry.of, entry.figure, results, shared)
    against, against_lacks = _side(entry.against, entry.figure, results, shared)
    clean, clean_lacks = _side(entry.clean, entry.figure, results, shared) if entry.clean else (None, "")
    seeds = (_count(entry.of, results, shared), _count(entry.against, results, shared))
    lacks = "; ".join(dict.fromkeys(text for text in (of_lacks, against_lacks, clean_lacks) if text))
    made = ComparisonEntry(name=entry.name, figure=entry.figure, seeds=seeds, missing=lacks)
    if of is None or against is None:
        return made
    if len(of) != len(against) or (clean is not None and len(clean) != len(of)):
        return made.model_copy(update={"missing": "the sides were evaluated on different rows"})
    won = recovered(of, against, clean) if clean is not None else None
    return made.model_copy(
        update={"difference": difference(of, against), "ratio": ratio(of, against), "recovered": won}
    )


def _side(
    side: StudySide, figure: str, results: Sequence[CellResult], shared: frozenset[int | None]
) -> tuple[Values | None, str]:
    """Row values of one side, seeds and settings averaged, and in words what is lacking."""
    chosen = _chosen(side, results)
    finished = _finished(side, results)
    evaluation = side.baseline or TRAINED
    if side.baseline is not None:
        finished = [result for result in finished if side.baseline in result.rows][:1]
        if not finished:
            return None, f"no finished cell has rows of the baseline {side.baseline}"
    if not finished:
        return None, f"none of {len(chosen)} cells of {_named(side)} is finished"
    # A seed that only one side has would be told as the setting's doing; if they share none, all that there are must do.
    compared = [result for result in finished if result.cell.seed in shared] or finished
    rows = averaged([result.rows[evaluation] for result in compared if evaluation in result.rows], figure)
    if rows is None or any(evaluation not in result.rows for result in finished):
        return None, f"cells of {_named(side)} have no rows of {figure} in common"
    open_cells = len(chosen) - len(finished) if side.baseline is None else 0
    return rows, f"{open_cells} of {len(chosen)} cells of {_named(side)} are not finished" if open_cells else ""


def _chosen(side: StudySide, results: Iterable[CellResult]) -> list[CellResult]:
    if side.cells is None:
        return list(results)
    return [result for result in results if any(matches(side.cells, at) for at in result.cell.coordinates)]


def _finished(side: StudySide, results: Iterable[CellResult]) -> list[CellResult]:
    return [result for result in _chosen(side, results) if result.state.state == "Finished"]


def _seeds(side: StudySide, results: Iterable[CellResult]) -> frozenset[int | None]:
    return frozenset(result.cell.seed for result in _finished(side, results))


def _count(side: StudySide, results: Sequence[CellResult], shared: frozenset[int | None]) -> int:
    if side.baseline is not None:
        return 0
    finished = _finished(side, results)
    return sum(result.cell.seed in shared for result in finished) or len(finished)


def _named(side: StudySide) -> str:
    if side.cells is None:
        return str(side.baseline)
    return ", ".join(f"{axis} {' or '.join(values)}" for axis, values in side.cells.items()) or "the study"


def _curves(file: StudyFile, results: Sequence[CellResult]) -> Iterator[CurveEntry]:
    axes = {axis.name: axis for axis in file.study.spec.axes}
    for curve in file.study.spec.curves:
        for panel in axes[curve.panels].values:
            for line in axes[curve.lines].values:
                points = []
                for value in axes[curve.x].values:
                    at = {curve.panels: panel.name, curve.lines: line.name, curve.x: value.name}
                    selector = {axis: (name,) for axis, name in at.items()}
                    chosen = [r for r in _chosen(StudySide(cells=selector), results) if r.state.state == "Finished"]
                    found = estimate_of(chosen, TRAINED, curve.figure)
                    if found is not None and value.number is not None:
                        points.append(CurvePoint(x=value.number, figure=found))
                yield CurveEntry(panel=panel.name, line=line.name, figure=curve.figure, points=tuple(points))


_NAMED = 8
"""Of cells that are missing; `--list` has them all."""


def _missing(results: Sequence[CellResult], finished: Sequence[CellResult], baselines: Sequence[str]) -> Iterator[str]:
    for state, said in (("Failed", "failed"), ("Unfinished", "not finished"), ("Waiting", "not started")):
        names = [result.cell.name for result in results if result.state.state == state]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield f"{len(names)} of {len(results)} cells {said}: {', '.join(names[:_NAMED])}{more}"
    bare = [result.cell.name for result in finished if TRAINED not in result.rows]
    if bare:
        yield f"no per-row figures, so no intervals and no comparisons, of: {', '.join(bare)}"
    absent = [name for name in baselines if not any(name in result.means for result in finished)]
    if absent and finished:
        yield f"baselines that no cell has measured: {', '.join(absent)}"
