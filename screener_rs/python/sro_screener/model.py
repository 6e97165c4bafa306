"""The linear screener as a value: what was fitted, saved as one JSON file, scored by Rust."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sro_screener._native import NbLogistic

FORMAT = "sro-nb-logistic"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class NbSettings:
    """How texts become n-grams, as scikit-learn's `TfidfVectorizer` names it."""

    ngram_range: tuple[int, int] = (1, 2)
    """Least and most words of an n-gram."""
    lowercase: bool = True
    """Apply `str.lower` first."""
    strip_accents: Literal["unicode"] | None = "unicode"
    """`unicode`: decompose (NFKD) and drop combining marks."""
    sublinear_tf: bool = True
    """1 + ln(count) instead of the count."""


class ToxicWord(NamedTuple):
    """A word and what a text that consists of it alone adds to the logit."""

    word: str
    weight: float


@dataclass(frozen=True, kw_only=True, eq=False)
class NbLogisticModel:
    """A fitted linear screener; arrays have one value for each n-gram of the vocabulary."""

    vocabulary: tuple[str, ...]
    """The n-grams, words joined by one space."""
    idf: NDArray[np.float64]
    """Inverse document frequencies."""
    r: NDArray[np.float64]
    """Naive Bayes log-ratios."""
    coef: NDArray[np.float64]
    """Coefficients of the logistic regression."""
    intercept: float
    """Its intercept."""
    settings: NbSettings = NbSettings()
    """How texts become n-grams."""

    def __post_init__(self) -> None:
        """Build the scorer in Rust.

        Raises:
            ValueError: the parts do not fit each other.
        """
        native = NbLogistic.from_parts(
            self.vocabulary, self.idf, self.r, self.coef, self.intercept, **asdict(self.settings)
        )
        object.__setattr__(self, "_native", native)

    @property
    def native(self) -> NbLogistic:
        """The scorer in Rust."""
        native: NbLogistic = self.__dict__["_native"]
        return native

    def score(self, texts: Sequence[str], threads: int | None = None) -> NDArray[np.float64]:
        """Toxicity of each text, in [0, 1]."""
        return self.native.score(texts, threads)

    def verdicts(
        self, texts: Sequence[str], threshold: float = 0.5, threads: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Scores, and whether each text passed: a score at or above the threshold fails."""
        return self.native.verdicts(texts, threshold, threads)

    def toxic_words(self, n: int, min_weight: float = 0.0) -> list[ToxicWord]:
        """The `n` single words of greatest weight above `min_weight`, the greatest first, ties by spelling."""
        weighed = zip(self.vocabulary, self.native.weights.tolist(), strict=True)
        words = [ToxicWord(ngram, weight) for ngram, weight in weighed if weight > min_weight and " " not in ngram]
        return sorted(words, key=lambda found: (-found.weight, found.word))[:n]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON file; it appears whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        document = {"format": FORMAT, "version": VERSION} | {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(self).items()
        }
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        partial.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        partial.replace(target)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that `save` wrote.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such file; the message names the path and the field.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**_fields(document))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error


def _fields(document: Any) -> dict[str, Any]:
    """The constructor's arguments from parsed JSON."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"format: is not {FORMAT!r}")
    if document.get("version") != VERSION:
        raise ValueError(f"version: {document.get('version')!r} is not {VERSION}")
    for name in ("vocabulary", "idf", "r", "coef", "intercept", "settings"):
        if name not in document:
            raise ValueError(f"{name}: is missing")
    return {
        "vocabulary": tuple(document["vocabulary"]),
        **{name: _floats(name, document[name]) for name in ("idf", "r", "coef")},
        "intercept": float(document["intercept"]),
        "settings": _settings(document["settings"]),
    }


def _floats(name: str, values: Any) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: is not a list of numbers") from error
    if array.ndim != 1:
        raise ValueError(f"{name}: has {array.ndim} dimensions, not 1")
    return array


def _settings(values: Any) -> NbSettings:
    known = set(NbSettings.__dataclass_fields__)
    if not isinstance(values, dict) or set(values) != known:
        raise ValueError(f"settings: {values!r} does not have exactly {sorted(known)}")
    return NbSettings(**{**values, "ngram_range": tuple(values["ngram_range"])})
