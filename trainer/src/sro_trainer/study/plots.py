"""Plots of a study's report as SVG text. No window system, no global state of the plotting library."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sro_trainer.study.report import CurveEntry, StudyReport
from sro_trainer.study.rows import Estimate

FIGURE = "joint"
_ROW_INCHES = 0.32
_METADATA = {"Date": None, "Creator": None}
"""Left out, for the same reason as the salt below."""


def settings_plot(report: StudyReport) -> str:
    """J of every baseline and setting with its interval, and a dot for each seed; empty where nothing is measured."""
    named = [(name, figures.get(FIGURE)) for name, figures in report.baselines.items()]
    named += [(entry.name.removeprefix(f"{report.name}-"), entry.figures.get(FIGURE)) for entry in report.settings]
    rows = [(name, value) for name, value in named if value is not None]
    if not rows:
        return ""
    figure = Figure(figsize=(9, 1 + _ROW_INCHES * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    _draw_rows(axes, rows)
    axes.set_xlabel("J on held-out sources, 95 % interval over sources; dots: seeds")
    return _svg(figure)


def comparisons_plot(report: StudyReport) -> str:
    """Paired differences with their intervals; empty where none was made."""
    rows = [(entry.name, entry.difference) for entry in report.comparisons if entry.difference is not None]
    if not rows:
        return ""
    figure = Figure(figsize=(9, 1 + _ROW_INCHES * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    _draw_rows(axes, rows)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("paired difference on the same sources, 95 % interval")
    return _svg(figure)


def curves_plot(curves: Sequence[CurveEntry]) -> str:
    """One panel per value of the panels' axis, one line per value of the lines' axis; empty where no point is measured."""
    panels = list(dict.fromkeys(curve.panel for curve in curves if curve.points))
    if not panels:
        return ""
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4 * columns, 3 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        for curve in curves:
            if curve.panel == panel and curve.points:
                _draw_curve(axes, curve)
        axes.set_title(panel)
        axes.grid(alpha=0.3)
    grid.flat[0].legend(fontsize="small")
    return _svg(figure)


def _draw_rows(axes: Axes, rows: Sequence[tuple[str, Estimate]]) -> None:
    places = list(range(len(rows), 0, -1))
    for place, (_, value) in zip(places, rows, strict=True):
        low, high = _ends(value)
        axes.errorbar(
            [value.mean], [place], xerr=[[value.mean - low], [high - value.mean]], fmt="s", color="C0", capsize=3
        )
        axes.plot(value.seeds, [place] * len(value.seeds), ".", color="C1", alpha=0.7)
    axes.set_yticks(places, [name for name, _ in rows])
    axes.grid(axis="x", alpha=0.3)


def _draw_curve(axes: Axes, curve: CurveEntry) -> None:
    points = sorted(curve.points, key=lambda point: point.x)
    means = [point.figure.mean for point in points]
    ends = [_ends(point.figure) for point in points]
    below = [mean - low for mean, (low, _) in zip(means, ends, strict=True)]
    above = [high - mean for mean, (_, high) in zip(means, ends, strict=True)]
    axes.errorbar([point.x for point in points], means, yerr=[below, above], marker="o", capsize=3, label=curve.line)


def _ends(value: Estimate) -> tuple[float, float]:
    low = value.mean if value.low is None else min(value.low, value.mean)
    high = value.mean if value.high is None else max(value.high, value.mean)
    return low, high


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    # A salt of its own in place of a random one: equal reports are equal files.
    with matplotlib.rc_context({"svg.hashsalt": "sro"}):
        FigureCanvasSVG(figure).print_svg(text, metadata=_METADATA)  # type: ignore[no-untyped-call] # untyped there
    # The XML prologue has no place inside a page.
    return text.getvalue()[text.getvalue().index("<svg") :]
