"""`report.html`: the report for a person, in one file that needs nothing else."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from sro_trainer import plots
from sro_trainer.evaluation import EvaluationResult
from sro_trainer.measuring import Evaluations
from sro_trainer.report import Difference, RunReport
from sro_trainer.reporting import all_results, read_metrics, screener_gaps

FILE_NAME = "report.html"
SAMPLES = 24
"""Rows that are shown behind a click."""

NAMES = {
    "duplicate": "source unchanged",
    "delete": "toxic words deleted",
    "mask-infill": "toxic words masked, leader fills",
    "untrained": "leader, untrained",
    "before": "leader, before the game",
    "after": "leader, after the game",
    "reference": "human reference",
}
_ORDER = tuple(NAMES)
_FIGURES = {
    "held_out_pass_rate": ("STA", "share that the held-out screener passes"),
    "similarity": ("SIM", "mean cosine of source and paraphrase"),
    "fluency": ("FL", "share that reads as a person's sentence"),
    "joint": ("J", "mean of STA × SIM × FL, row by row"),
    "style_similarity": ("STA × SIM", "mean, fluency left out"),
    "pass_rate": ("pass, training", "share that the training screener passes"),
    "screener_agreement": ("agreement", "share on which both screeners say the same"),
    "length_ratio": ("length", "words of the paraphrase per word of the source"),
    "novelty": ("novelty", "share of words that the source does not have"),
    "copy_rate": ("copies", "share equal to the source"),
    "empty_rate": ("empty", "share without any text"),
}
_PANELS = {"toxicity": "Toxicity score", "similarity": "Similarity to the source", "fluency score": "Fluency score"}
_CSS = """
:root{color-scheme:light}*{box-sizing:border-box}body{margin:0;background:#f6f7f9;color:#1f2430;
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1060px;margin:0 auto;padding:32px 24px 64px}h1{font-size:26px;margin:0 0 2px}h2{font-size:18px;margin:36px 0 10px}
p{margin:6px 0;max-width:75ch}.muted{color:#6b7280}.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));
gap:14px;margin:20px 0}.card,.panel{background:#fff;border:1px solid #e5e7eb;border-radius:10px;padding:14px 16px}
.card b{display:block;font-size:26px;font-weight:650;letter-spacing:-.01em}.card span{color:#6b7280;font-size:13px}
.panel{overflow-x:auto;margin:10px 0}.panel svg{max-width:100%;height:auto;display:block}table{border-collapse:collapse;width:100%;
font-variant-numeric:tabular-nums;font-size:13.5px}th,td{padding:6px 9px;text-align:right;border-bottom:1px solid #eef0f3;
vertical-align:top}th{font-weight:600;color:#6b7280;font-size:12.5px}th:first-child,td:first-child{text-align:left;white-space:nowrap}
td small{display:block;color:#8b93a1;font-size:11px;white-space:nowrap}tr.ours td{background:#eff6ff}.warn{border-left:4px solid #d97706}
.good{border-left:4px solid #059669}details{background:#fff;border:1px solid #e5e7eb;border-radius:10px;padding:12px 16px;margin:10px 0}
summary{cursor:pointer;font-weight:600}details td,details th{text-align:left;white-space:normal}details td:first-child{white-space:normal}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:0}dt{font-weight:600}dd{margin:0;color:#4b5563}
@media print{body{background:#fff}details{break-inside:avoid}}
"""


def write_html(folder: Path, report: RunReport, evaluations: Evaluations, *, metrics: Path) -> Path:
    """Write `report.html`, whole or not at all.

    Args:
        folder: receives it.
        report: the figures.
        evaluations: what the rewriters wrote.
        metrics: the run's `metrics.jsonl`; need not exist.
    """
    target, staging = folder / FILE_NAME, folder / f".{FILE_NAME}.{os.getpid()}"
    page = html_page(report, all_results(evaluations), read_metrics(metrics))
    staging.write_text(page, encoding="utf-8")
    os.replace(staging, target)
    return target


def html_page(report: RunReport, results: Mapping[str, EvaluationResult], metrics: plots.Metrics) -> str:
    """The whole page. Pure."""
    blocks = [_head(report, results), _cards(report), _table(report, results), _game(metrics, report)]
    blocks += [_distributions(results), _instruments(report), _samples(results)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(report.name)}: sro report</title><style>{_CSS}</style></head><body><main>\n"
        + "\n".join(block for block in blocks if block)
        + "\n</main></body></html>\n"
    )


def _head(report: RunReport, results: Mapping[str, EvaluationResult]) -> str:
    rows = max((result.figures.rows for result in results.values()), default=0)
    told = f"{report.steps} steps of the game, " if report.steps else ""
    return (
        f'<h1>{escape(report.name)}</h1><p class="muted">Stackelberg response optimization: {told}{rows} held-out sources, '
        "rewritten greedily and measured without guards. Intervals are 95 % paired bootstrap over rows.</p>"
    )


def _cards(report: RunReport) -> str:
    ours = report.intervals.get("after", {})
    cards = [_card("J after the game", ours["joint"])] if "joint" in ours else []
    for name in ("before", "delete", "reference"):
        difference = report.against.get(name, {}).get("joint")
        if difference is not None:
            cards.append(_card(f"J against: {NAMES[name]}", difference, signed=True))
    for key in ("held_out_pass_rate", "similarity", "fluency"):
        if key in ours and len(cards) < 4:
            cards.append(_card(f"{_FIGURES[key][0]} after the game", ours[key]))
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _card(title: str, value: Difference, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    low, high = format(value.low, f"{sign}.3f"), format(value.high, f"{sign}.3f")
    return (
        f'<div class="card"><span>{escape(title)}</span><b>{value.mean:{sign}.3f}</b><span>[{low}, {high}]</span></div>'
    )


def _table(report: RunReport, results: Mapping[str, EvaluationResult]) -> str:
    present = [name for name in _ORDER if name in results] + [name for name in results if name not in _ORDER]
    columns = [key for key in _FIGURES if any(key in report.intervals.get(name, {}) for name in present)]
    heads = "".join(f'<th title="{escape(_FIGURES[key][1])}">{_FIGURES[key][0]}</th>' for key in columns)
    lines = [f"<tr><th>rewriter</th>{heads}</tr>"]
    for name in present:
        cells = "".join(f"<td>{_cell(report.intervals.get(name, {}).get(key))}</td>" for key in columns)
        lines.append(f"<tr{_ours(name)}><td>{escape(NAMES.get(name, name))}</td>{cells}</tr>")
    joints = {name: report.intervals[name]["joint"] for name in present if "joint" in report.intervals.get(name, {})}
    drawing = f'<div class="panel">{plots.joint_by_rewriter(joints, NAMES)}</div>' if joints else ""
    explained = "; ".join(f"<b>{_FIGURES[key][0]}</b> {escape(_FIGURES[key][1])}" for key in columns)
    return (
        f'<h2>Every rewriter, on the same rows</h2>{drawing}<div class="panel"><table>{"".join(lines)}</table></div>'
        + (f'<p class="muted">{explained}.</p>{_against(report)}')
    )


def _ours(name: str) -> str:
    return ' class="ours"' if name == "after" else ""


def _cell(value: Difference | None, *, sign: str = "") -> str:
    if value is None:
        return "–"
    return f"{value.mean:{sign}.3f}<small>{value.low:{sign}.3f} … {value.high:{sign}.3f}</small>"


def _against(report: RunReport) -> str:
    if not report.against:
        return ""
    columns = [key for key in ("held_out_pass_rate", "similarity", "fluency", "joint", "style_similarity")
               if any(key in found for found in report.against.values())]  # fmt: skip
    heads = "".join(f"<th>{_FIGURES[key][0]}</th>" for key in columns)
    lines = [f"<tr><th>after, minus …</th>{heads}</tr>"]
    for name in (name for name in _ORDER if name in report.against):
        cells = "".join(f"<td>{_cell(report.against[name].get(key), sign='+')}</td>" for key in columns)
        lines.append(f"<tr><td>{escape(NAMES[name])}</td>{cells}</tr>")
    return f'<h2>What the game changed, row against row</h2><div class="panel"><table>{"".join(lines)}</table></div>'


def _game(metrics: plots.Metrics, report: RunReport) -> str:
    game = [row for row in metrics if row.get("stage") == "Training"]
    if not game:
        return ""
    blocks = ["<h2>The game, step by step</h2>", f'<div class="panel">{plots.curves(game)}</div>']
    blocks += [
        "<h2>What became of the paraphrases</h2>",
        f'<div class="panel">{plots.outcomes(game)}</div>',
        _counts(game),
    ]
    steps, gaps = screener_gaps(list(map(dict, game)))
    if steps:
        blocks += [
            "<h2>Over-optimisation</h2>",
            _verdict(report),
            f'<div class="panel">{plots.screener_gap(steps, gaps)}</div>',
        ]
    return "".join(blocks)


def _counts(game: Sequence[Mapping[str, object]]) -> str:
    totals: dict[str, int] = {}
    for row in game:
        outcomes = row.get("outcomes")
        for name, count in (outcomes if isinstance(outcomes, dict) else {}).items():
            totals[name] = totals.get(name, 0) + count
    told = ", ".join(
        f"{escape(name)} {count}" for name, count in sorted(totals.items(), key=lambda item: -item[1]) if count
    )
    return f'<p class="muted">Over the whole game: {told}.</p>'


def _verdict(report: RunReport) -> str:
    found = report.over_optimisation
    if found is None:
        return '<p class="muted">Too few steps to tell whether the leader pleases the training screener alone.</p>'
    told = (
        f"The training screener's pass rate is above the held-out screener's by {found.first:+.3f} in the first quarter of the "
        f"steps and by {found.last:+.3f} in the last: growth {found.growth.mean:+.3f} "
        f"[{found.growth.low:+.3f}, {found.growth.high:+.3f}]."
    )
    word = (
        "The leader learns to please the training screener." if found.is_suspected else "No sign of over-optimisation."
    )
    return f'<div class="panel {"warn" if found.is_suspected else "good"}"><b>{word}</b> {told}</div>'


def _distributions(results: Mapping[str, EvaluationResult]) -> str:
    shown = {
        name: {**result.rows, **result.scores}
        for name, result in results.items()
        if name in ("before", "after", "reference")
    }
    panels = {key: title for key, title in _PANELS.items() if any(key in values for values in shown.values())}
    if not panels:
        return ""
    return f'<h2>Before and after, row by row</h2><div class="panel">{plots.distributions(shown, panels, NAMES)}</div>'


def _instruments(report: RunReport) -> str:
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(line)}</dd>" for name, line in report.instruments.items())
    found = report.fluency_agreement
    told = ""
    if found is not None:
        kinds = ", ".join(f"{escape(kind)} {value:.2f}" for kind, value in sorted(found.by_kind.items()))
        told = (
            f'<p class="muted">The fluency detector on {found.sentences} human-written sentences that it was not fitted on and as many '
            f"corrupted ones: area under the curve {found.area.mean:.3f} [{found.area.low:.3f}, {found.area.high:.3f}]; "
            f"{found.human_share:.0%} of the human-written and {found.corrupted_share:.0%} of the corrupted ones count as fluent. "
            f"By kind of corruption: {kinds}.</p>"
        )
    return f'<h2>Measured with</h2><div class="panel"><dl>{lines}</dl></div>{told}'


def _samples(results: Mapping[str, EvaluationResult]) -> str:
    shown = [name for name in ("before", "after", "reference") if name in results]
    if not shown:
        return ""
    first = results[shown[0]]
    rows = sorted(random.Random(0).sample(range(len(first.sources)), min(SAMPLES, len(first.sources))))
    heads = "".join(f"<th>{escape(NAMES[name])}</th>" for name in shown)
    lines = [
        f"<tr><td>{escape(first.sources[row])}</td>"
        + "".join(f"<td>{_sample(results[name], row)}</td>" for name in shown)
        + "</tr>"
        for row in rows
    ]
    return (
        f"<h2>Sampled rewrites</h2><details><summary>Show {len(rows)} of them. The sources are offensive, and some rewrites "
        f"are, too.</summary><table><tr><th>source</th>{heads}</tr>{''.join(lines)}</table></details>"
    )


def _sample(result: EvaluationResult, row: int) -> str:
    text = result.paraphrases[row]
    if text is None:
        return "–"
    keys = [key for key in ("held_out_pass_rate", "similarity", "fluency") if key in result.rows]
    told = ", ".join(f"{_FIGURES[key][0]} {_short(float(result.rows[key][row]))}" for key in keys)
    return f"{escape(text) or '<i>empty</i>'}<small>{told}</small>"


def _short(value: float) -> str:
    return str(int(value)) if value in (0.0, 1.0) else f"{np.round(value, 2):.2f}"
