"""The readable twin of the Rust code: what it computes, in plain Python, as an oracle for its tests.

Token ids have their own oracle, Hugging Face `tokenizers`.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sro_screener.model import NbLogisticModel, NbSettings

WORD = re.compile(r"(?u)\b\w\w+\b")


def buckets(lengths: Sequence[int], max_tokens: int, max_rows: int | None = None) -> list[list[int]]:
    """Places of the rows of each batch: longest first, equal lengths in order, cut by padded tokens and rows."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    batches: list[list[int]] = []
    for row in order:
        batch = batches[-1] if batches else None
        if batch is not None:
            width = max(1, lengths[batch[0]])
            if width * (len(batch) + 1) <= max_tokens and (max_rows is None or len(batch) < max_rows):
                batch.append(row)
                continue
        batches.append([row])
    return batches


def padded(rows: Sequence[Sequence[int]], pad_token_id: int) -> NDArray[np.int32]:
    """The rows, filled up on the right to the longest, shape (rows, width)."""
    width = max(map(len, rows))
    return np.array([[*row, *[pad_token_id] * (width - len(row))] for row in rows], dtype=np.int32)


def verdicts(
    logits: NDArray[np.floating[Any]],
    *,
    label_index: int,
    activation: str = "softmax",
    threshold: float = 0.5,
    permutation: Sequence[int] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores and verdicts in the callers' order; a score at or above the threshold fails, compared as float32."""
    logits = np.asarray(logits, dtype=np.float64)
    if activation == "softmax":
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = exponentials[:, label_index] / exponentials.sum(axis=1)
    else:
        scores = np.array([sigmoid(z) for z in logits[:, label_index]])
    ordered = np.empty(len(scores), dtype=np.float32)
    ordered[np.arange(len(scores)) if permutation is None else np.asarray(permutation, dtype=np.int64)] = scores
    return ordered, ordered < np.float32(threshold)


def sigmoid(z: float) -> float:
    """1 / (1 + exp(-z)), without overflow."""
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def words(text: str, settings: NbSettings) -> list[str]:
    """The words of a text, as scikit-learn finds them."""
    if settings.lowercase:
        text = text.lower()
    if settings.strip_accents is not None and not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return WORD.findall(text)


def ngrams(text: str, settings: NbSettings) -> Iterator[str]:
    """All n-grams of a text, each as often as it occurs."""
    found = words(text, settings)
    least, most = settings.ngram_range
    for size in range(least, most + 1):
        for start in range(len(found) - size + 1):
            yield " ".join(found[start : start + size])


def nb_scores(model: NbLogisticModel, texts: Sequence[str]) -> NDArray[np.float64]:
    """Score of each text: TF-IDF over the vocabulary, L2-normalised, times r, times coef."""
    index = {ngram: place for place, ngram in enumerate(model.vocabulary)}
    return np.array([sigmoid(_nb_logit(model, index, text)) for text in texts])


def _nb_logit(model: NbLogisticModel, index: dict[str, int], text: str) -> float:
    counts = Counter(index[ngram] for ngram in ngrams(text, model.settings) if ngram in index)
    tf = {place: 1 + math.log(count) if model.settings.sublinear_tf else count for place, count in counts.items()}
    tfidf = {place: value * model.idf[place] for place, value in tf.items()}
    norm = math.sqrt(sum(value * value for value in tfidf.values()))
    weighed = sum(value / norm * model.r[place] * model.coef[place] for place, value in tfidf.items())
    return float(model.intercept + weighed)
