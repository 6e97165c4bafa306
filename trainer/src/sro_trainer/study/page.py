"""The study's report as one HTML file that needs no other. Pure: a report in, text out. No text of any row is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from sro_trainer.study.plots import comparisons_plot, curves_plot, settings_plot
from sro_trainer.study.report import CurveEntry, StudyReport
from sro_trainer.study.table import HEADINGS, columns_of, shown

_STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums}td,th{padding:.25em .7em;border-bottom:1px solid #ddd;
text-align:right}td:first-child,th:first-child{text-align:left}.Failed{color:#b00020}svg{max-width:100%;height:auto}
.missing{background:#fff4d6;padding:.6em 1em}"""


def study_page(report: StudyReport) -> str:
    """The whole page."""
    parts = [
        f"<h1>Study {escape(report.name)}</h1>",
        f"<p>{report.rows} held-out sources, rewritten greedily. Means over seeds, with 95 % bootstrap intervals over sources; "
        "the interval does not cover how training itself varies, which the single seeds show.</p>",
        _missing(report.missing),
        "<h2>Rewriters</h2>",
        settings_plot(report),
        _settings(report),
        *_comparisons(report),
        *_curves(report.curves),
        "<h2>Cells</h2>",
        _cells(report),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Study {escape(report.name)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _missing(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f'<div class="missing"><b>Missing</b><ul>{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul></div>'


def _settings(report: StudyReport) -> str:
    columns = columns_of(report)
    rows = [
        [name, "", *(shown(figures.get(column)) for column in columns)] for name, figures in report.baselines.items()
    ]
    rows += [
        [entry.name.removeprefix(f"{report.name}-"), f"{entry.finished}/{entry.cells}",
         *(shown(entry.figures.get(column)) for column in columns)]
        for entry in report.settings
    ]  # fmt: skip
    return _table(["rewriter", "seeds", *(HEADINGS[column] for column in columns)], rows)


def _comparisons(report: StudyReport) -> Iterable[str]:
    if not report.comparisons:
        return ()
    head = ["comparison", "figure", "cells", "difference", "ratio", "harm won back", "missing"]
    rows = [
        [entry.name, entry.figure, f"{entry.seeds[0]} : {entry.seeds[1]}", shown(entry.difference, signed=True), shown(entry.ratio),
         shown(entry.recovered, signed=True), entry.missing]
        for entry in report.comparisons
    ]  # fmt: skip
    return ("<h2>Comparisons</h2>", comparisons_plot(report), _table(head, rows))


def _curves(curves: Sequence[CurveEntry]) -> Iterable[str]:
    for figure in dict.fromkeys(curve.figure for curve in curves):
        plot = curves_plot([curve for curve in curves if curve.figure == figure])
        if plot:
            yield f"<h2>{escape(HEADINGS.get(figure, figure))} along the axis</h2>"
            yield plot


def _cells(report: StudyReport) -> str:
    rows = []
    for cell in report.cells:
        took = "" if cell.seconds is None else f"{cell.seconds:.0f}"
        joint = f"{cell.figures['joint']:.3f}" if "joint" in cell.figures else "-"
        why = f"{cell.reason}: {cell.message}" if cell.reason and cell.state != "Finished" else ""
        rows.append([cell.name, cell.state, took, joint, why])
    return _table(["cell", "state", "seconds", "J", "why"], rows, classes=[cell.state for cell in report.cells])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, classes: Sequence[str] | None = None) -> str:
    header = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        f'<tr class="{escape(classes[index]) if classes else ""}">{"".join(f"<td>{escape(text)}</td>" for text in row)}</tr>\n'
        for index, row in enumerate(rows)
    )
    return f"<table><thead><tr>{header}</tr></thead><tbody>\n{body}</tbody></table>"
