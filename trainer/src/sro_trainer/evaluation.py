"""Held-out sources, rewritten and measured: STA, SIM, FL, J and what explains them, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic.alias_generators import to_camel

from sro_api.base import Manifest
from sro_api.status import EvaluationFigures
from sro_trainer.bootstrap import Interval, paired_interval
from sro_trainer.disfluency import is_word, normalised, split_words
from sro_trainer.guards import is_copy
from sro_trainer.instruments import Instruments

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """Figures of one rewriter on one set of sources, and what they were computed from, row by row."""

    figures: EvaluationFigures
    sources: tuple[str, ...]
    paraphrases: tuple[str | None, ...]
    """None where the rewriter has none, as a human reference that nobody wrote; such rows are not measured."""
    rows: dict[str, Values]
    """Per-row values whose means are the figures, each of shape (n,), by the figure's name; NaN where not measured."""
    scores: dict[str, Values]
    """What is behind the zeros and ones: `toxicity` by the held-out screener (or the training one) and `fluency score`."""

    def intervals(self) -> dict[str, Interval]:
        """Each figure with its 95 % interval."""
        found = {name: paired_interval(values) for name, values in self.rows.items()}
        return {name: interval for name, interval in found.items() if interval is not None}

    def as_rows(self) -> Iterator[Manifest]:
        """One object a row, as `evaluations/` keeps them; figures by their names in `status.evaluation`."""
        for row, (source, paraphrase) in enumerate(zip(self.sources, self.paraphrases, strict=True)):
            figures = {
                to_camel(name): float(values[row]) for name, values in self.rows.items() if paraphrase is not None
            }
            yield {"source": source, "paraphrase": paraphrase, "figures": figures}


def evaluate(paraphrases: Sequence[str | None], sources: Sequence[str], instruments: Instruments) -> EvaluationResult:
    """Measure paraphrases, without guards.

    J is the mean over rows of STA x SIM x FL: the mean of products and not the product of means. It is absent where one of the
    three is not measured.

    Args:
        paraphrases: one per source, or None.
        sources: toxic texts.
        instruments: what to measure with.
    """
    assert len(paraphrases) == len(sources)
    given = [row for row, text in enumerate(paraphrases) if text is not None]
    written = [text for text in paraphrases if text is not None]
    judge = instruments.held_out or instruments.screener
    scores = {"toxicity": judge.verdicts(written).scores.astype(np.float64)}
    if instruments.fluency is not None:
        scores["fluency score"] = instruments.fluency.scores(written)
    measured = _measure(written, [sources[row] for row in given], instruments)
    rows = {name: _spread(values, given, len(sources)) for name, values in measured.items()}
    figures = {name: float(values.mean()) if given else 0.0 for name, values in measured.items()}
    return EvaluationResult(
        figures=EvaluationFigures(rows=len(given), **figures),
        sources=tuple(sources),
        paraphrases=tuple(paraphrases),
        rows=rows,
        scores={name: _spread(values, given, len(sources)) for name, values in scores.items()},
    )


def differences(result: EvaluationResult, other: EvaluationResult, *, seed: int = 0) -> dict[str, Interval]:
    """Paired bootstrap of result - other: rows are drawn together, since both rewrote the same sources.

    Args:
        result: one rewriter.
        other: another, on the same sources; rows that only one of them has are left out.
        seed: of the resampling.
    """
    assert result.sources == other.sources
    shared = [name for name in result.rows if name in other.rows]
    found = {name: paired_interval(result.rows[name] - other.rows[name], seed=seed) for name in shared}
    return {name: interval for name, interval in found.items() if interval is not None}


def _measure(texts: list[str], sources: list[str], instruments: Instruments) -> dict[str, Values]:
    passed = _passed(instruments.screener.verdicts(texts).passed)
    rows: dict[str, Values] = {"pass_rate": passed}
    if instruments.held_out is not None:
        rows["held_out_pass_rate"] = _passed(instruments.held_out.verdicts(texts).passed)
        rows["screener_agreement"] = (rows["held_out_pass_rate"] == passed).astype(np.float64)
    if instruments.encoder is not None:
        # Rounding puts the cosine of a text with itself a hair above 1.
        rows["similarity"] = np.clip(instruments.encoder.similarity(sources, texts).astype(np.float64), -1.0, 1.0)
    if instruments.fluency is not None:
        rows["fluency"] = (instruments.fluency.scores(texts) >= instruments.fluent_at).astype(np.float64)
    if "held_out_pass_rate" in rows and "similarity" in rows:
        rows["style_similarity"] = rows["held_out_pass_rate"] * rows["similarity"]
        if "fluency" in rows:
            rows["joint"] = rows["style_similarity"] * rows["fluency"]
    pairs = list(zip(sources, texts, strict=True))
    return rows | {
        "copy_rate": np.array([is_copy(x, y) for x, y in pairs], dtype=np.float64),
        "empty_rate": np.array([not y.strip() for _, y in pairs], dtype=np.float64),
        "length_ratio": np.array([len(_words(y)) / max(1, len(_words(x))) for x, y in pairs], dtype=np.float64),
        "novelty": np.array([_novelty(x, y) for x, y in pairs], dtype=np.float64),
    }


def _passed(passed: NDArray[np.bool_]) -> Values:
    return passed.astype(np.float64)


def _words(text: str) -> list[str]:
    return [piece for piece in split_words(normalised(text)) if is_word(piece)]


def _novelty(source: str, paraphrase: str) -> float:
    written, known = _words(paraphrase), frozenset(_words(source))
    return sum(word not in known for word in written) / len(written) if written else 0.0


def _spread(values: Values, places: Sequence[int], length: int) -> Values:
    spread = np.full(length, np.nan)
    spread[list(places)] = values
    return spread
