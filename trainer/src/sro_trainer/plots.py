"""The report's figures, drawn by matplotlib and given as SVG to be put into a page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sro_trainer.guards import REFUSALS
from sro_trainer.report import Difference

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
STAGE_COLOURS = {"untrained": "#9ca3af", "before": "#d97706", "after": "#2563eb", "reference": "#059669"}
_OUTCOMES = {"passed": "#2563eb", "screener": "#dc2626", "dissimilar": "#d97706", "disfluent": "#7c3aed", "copy": "#6b7280",
             "unfinished": "#0891b2", "short": "#be185d", "empty": "#111827"}  # fmt: skip
_STYLE: Any = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "axes.edgecolor": MUTED, "axes.labelcolor": INK,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlecolor": INK, "xtick.color": MUTED,
    "ytick.color": MUTED, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
    "axes.axisbelow": True, "legend.frameon": False,
}  # fmt: skip

_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)

Metrics = Sequence[Mapping[str, Any]]
Values = NDArray[np.float64]


def joint_by_rewriter(intervals: Mapping[str, Difference], names: Mapping[str, str]) -> str:
    """J of every rewriter with its interval, the best at the top."""
    with _style():
        ordered = sorted(intervals.items(), key=lambda item: item[1].mean)
        figure, axes = _figure(7.6, 0.42 * len(ordered) + 0.9)
        for place, (name, interval) in enumerate(ordered):
            colour = STAGE_COLOURS.get(name, MUTED)
            axes.plot(
                [interval.low, interval.high], [place, place], color=colour, linewidth=2.5, solid_capstyle="round"
            )
            axes.plot(interval.mean, place, "o", color=colour, markersize=7)
            axes.annotate(f"{interval.mean:.3f}", (interval.mean, place), (0, 7), textcoords="offset points", ha="center",
                          fontsize=8, color=INK)  # fmt: skip
        axes.set_yticks(range(len(ordered)), [names.get(name, name) for name, _ in ordered], color=INK)
        axes.set_ylim(-0.6, len(ordered) - 0.3)
        axes.set_xlim(left=0)
        axes.set_xlabel("J = mean of STA × SIM × FL, with 95 % bootstrap interval")
        return _svg(figure, "joint")


def curves(metrics: Metrics) -> str:
    """Loss, pass rates, similarity and KL over the steps of the game."""
    with _style():
        game = [row for row in metrics if row.get("stage") == "Training"]
        figure, grid = _figure(9.6, 5.0, rows=2, columns=2)
        panels: list[tuple[str, dict[str, str]]] = [
            ("Loss", {"loss": "SRO loss"}),
            ("Pass rate", {"screener_pass_rate": "training screener", "held_out_pass_rate": "held-out screener",
                           "pass_rate": "screener and guards"}),
            ("Similarity to the source", {"similarity": "cosine"}),
            ("KL to the reference, nats per paraphrase", {"kl": "k3 estimate"}),
        ]  # fmt: skip
        for axes, (title, series) in zip(grid.flat, panels, strict=True):
            axes.set_title(title)
            for colour, (key, label) in zip(("#2563eb", "#d97706", "#059669"), series.items(), strict=False):
                _line(axes, game, key, label, colour)
            if title == "Pass rate":
                axes.set_ylim(-0.02, 1.02)
            if len(series) > 1:
                axes.legend(fontsize=8)
            axes.set_xlabel("step")
        return _svg(figure, "curves")


def outcomes(metrics: Metrics) -> str:
    """What became of the sampled paraphrases: passed, or refused by which guard, as shares of each step."""
    with _style():
        game = [row for row in metrics if row.get("stage") == "Training" and row.get("outcomes")]
        figure, axes = _figure(9.6, 2.9)
        names = [n for n in ("passed", *REFUSALS) if any(row["outcomes"].get(n) for row in game)]
        steps = [row["step"] for row in game]
        shares = [[row["outcomes"].get(name, 0) / max(1, row["rows"]) for row in game] for name in names]
        bottom = np.zeros(len(steps))
        for name, share in zip(names, shares, strict=True):
            axes.bar(steps, share, bottom=bottom, width=1.0, color=_OUTCOMES.get(name, MUTED), label=name, linewidth=0)
            bottom += np.array(share)
        axes.set_ylim(0, 1)
        axes.set_xlabel("step")
        axes.set_ylabel("share of the paraphrases")
        axes.legend(ncols=1, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _svg(figure, "outcomes")


def screener_gap(steps: Sequence[int], gaps: Sequence[float]) -> str:
    """The training screener's pass rate minus the held-out screener's, with its running mean."""
    with _style():
        figure, axes = _figure(9.6, 2.5)
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.plot(steps, gaps, "o", color="#93c5fd", markersize=3.5, label="each step")
        window = max(1, len(gaps) // 8)
        smooth = [float(np.mean(gaps[max(0, place - window) : place + window + 1])) for place in range(len(gaps))]
        axes.plot(steps, smooth, color="#2563eb", linewidth=2, label="running mean")
        axes.set_xlabel("step")
        axes.set_ylabel("pass rate, training − held-out")
        axes.legend(fontsize=8)
        return _svg(figure, "gap")


def distributions(
    stages: Mapping[str, Mapping[str, Values]], panels: Mapping[str, str], names: Mapping[str, str]
) -> str:
    """Per-row values of several rewriters, one panel for each value.

    Args:
        stages: values by rewriter and name.
        panels: title of each value by name.
        names: of the rewriters.
    """
    with _style():
        figure, grid = _figure(9.6, 2.7, columns=len(panels))
        for axes, (key, title) in zip(np.atleast_1d(grid).flat, panels.items(), strict=True):
            axes.set_title(title)
            found = {name: values[key][np.isfinite(values[key])] for name, values in stages.items() if key in values}
            together = np.concatenate(list(found.values()))
            edges = np.linspace(min(0.0, float(together.min())), max(1.0, float(together.max())), 21)
            for name, values in found.items():
                axes.hist(
                    values, bins=edges.tolist(), histtype="stepfilled", alpha=0.28, color=STAGE_COLOURS.get(name, MUTED)
                )
                axes.hist(values, bins=edges.tolist(), histtype="step", color=STAGE_COLOURS.get(name, MUTED), linewidth=1.4,
                          label=names.get(name, name))  # fmt: skip
            axes.set_ylabel("rows")
        np.atleast_1d(grid).flat[0].legend(fontsize=7.5, loc="upper right")
        return _svg(figure, "distributions")


def _line(axes: Any, rows: Metrics, key: str, label: str, colour: str) -> None:
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.7, label=label)


def _style() -> Any:
    return matplotlib.rc_context(_STYLE)


def _figure(width: float, height: float, *, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def _svg(figure: Figure, salt: str) -> str:
    """The drawing alone, without the file's head; its ids are its own, so that several share a page."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawing = text.getvalue()
    return _METADATA.sub("", drawing[drawing.index("<svg") :])
