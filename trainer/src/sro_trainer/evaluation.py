"""Held-out sources, rewritten greedily and measured; the same figures for two baselines that learn nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic.alias_generators import to_camel

from sro_api.base import Manifest
from sro_api.status import EvaluationFigures
from sro_trainer.bootstrap import Interval, paired_interval
from sro_trainer.guards import is_copy
from sro_trainer.similarity import SimilarityEncoder
from sro_trainer.verdicts import Screener

Rewrite = Callable[[Sequence[str]], list[str]]
"""Greedy paraphrases of sources, in their order."""


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """Figures of one leader on one set of sources, and what they were computed from, row by row."""

    figures: EvaluationFigures
    sources: tuple[str, ...]
    paraphrases: tuple[str, ...]
    rows: dict[str, NDArray[np.float64]]
    """Per-row values whose means are the figures, each of shape (n,), by the figure's name."""

    def as_rows(self) -> Iterator[Manifest]:
        """One object a row, as `evaluations/` keeps them; figures by their names in `status.evaluation`."""
        for row, (source, paraphrase) in enumerate(zip(self.sources, self.paraphrases, strict=True)):
            figures = {to_camel(name): float(values[row]) for name, values in self.rows.items()}
            yield {"source": source, "paraphrase": paraphrase, "figures": figures}


def evaluate(
    rewrite: Rewrite,
    texts: Sequence[str],
    screener: Screener,
    held_out: Screener | None,
    encoder: SimilarityEncoder | None,
) -> EvaluationResult:
    """Rewrite the texts and measure the paraphrases, without guards.

    J is the mean over rows of (passed by the held-out screener) x similarity, the mean of products and not the product of
    means; fluency is left out. It is absent where there is no held-out screener or no similarity.
    """
    paraphrases = rewrite(texts)
    rows = {
        "pass_rate": _passed(screener, paraphrases),
        "copy_rate": np.array([is_copy(x, y) for x, y in zip(texts, paraphrases, strict=True)], dtype=np.float64),
        "empty_rate": np.array([not text.strip() for text in paraphrases], dtype=np.float64),
    }
    if held_out is not None:
        rows["held_out_pass_rate"] = _passed(held_out, paraphrases)
    if encoder is not None:
        # Rounding puts the cosine of a text with itself a hair above 1.
        rows["similarity"] = np.clip(encoder.similarity(texts, paraphrases).astype(np.float64), -1.0, 1.0)
    if held_out is not None and encoder is not None:
        rows["joint"] = rows["held_out_pass_rate"] * rows["similarity"]
    figures = EvaluationFigures(rows=len(texts), **{name: float(values.mean()) for name, values in rows.items()})
    return EvaluationResult(figures=figures, sources=tuple(texts), paraphrases=tuple(paraphrases), rows=rows)


def baselines(
    texts: Sequence[str],
    words: Sequence[str],
    screener: Screener,
    held_out: Screener | None,
    encoder: SimilarityEncoder | None,
) -> dict[str, EvaluationResult]:
    """Two rewriters that learn nothing: the source itself, and the source without the toxic words.

    Args:
        texts: the sources.
        words: the lexicon to delete, lower case; empty leaves that baseline out.
        screener: the training screener.
        held_out: the measuring one.
        encoder: of the similarity.
    """
    rewriters: dict[str, Rewrite] = {"duplicate": list}
    if words:
        rewriters["delete"] = lambda sources: [delete_words(source, words) for source in sources]
    return {name: evaluate(rewrite, texts, screener, held_out, encoder) for name, rewrite in rewriters.items()}


def delete_words(text: str, words: Sequence[str]) -> str:
    """The text without the words of a lexicon, case and punctuation around a word ignored."""
    lexicon = frozenset(words)
    return " ".join(word for word in text.split() if word.strip(".,;:!?\"'()*-").casefold() not in lexicon)


def intervals(before: EvaluationResult, after: EvaluationResult, *, seed: int = 0) -> dict[str, Interval]:
    """Paired bootstrap of after - before: rows are drawn together, since both leaders rewrote the same sources.

    Args:
        before: one leader.
        after: another, on the same sources.
        seed: of the resampling.
    """
    assert before.sources == after.sources
    return {name: paired_interval(after.rows[name] - before.rows[name], seed=seed) for name in before.rows}


def _passed(screener: Screener, texts: Sequence[str]) -> NDArray[np.float64]:
    return screener.verdicts(texts).passed.astype(np.float64)
