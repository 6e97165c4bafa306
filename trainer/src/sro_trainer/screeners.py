"""The followers: fitted, loaded or read from a package, and frozen from then on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from sro_api.sources import Roots
from sro_api.training import HeldOutScreenerSpec, NBLogisticFitSpec, ScreenerSpec
from sro_screener import NbLogisticModel
from sro_screener.fit import fit_nb_logistic
from sro_trainer.data import Datasets, load_texts
from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.sequence_classifier import Surroundings, build_sequence_classifier
from sro_trainer.sources_io import resolve
from sro_trainer.verdicts import Screener, Verdicts

_PROFANITY_DATA = "package://alt-profanity-check/profanity_check/data/{name}.joblib"


def build_screener(
    spec: ScreenerSpec | HeldOutScreenerSpec, datasets: Datasets, roots: Roots, *, cache: Path | None = None
) -> Screener:
    """The screener that a spec describes.

    Args:
        spec: the training screener or the held-out one.
        datasets: whose rows NBLogistic is fitted on, where the spec names no others.
        roots: where relative and claim URIs start.
        cache: folder of a run's screeners: what was fitted, exported or measured by an earlier attempt or another rank is
            taken from there, so that all of them judge alike.

    Raises:
        ConfigurationError: the model does not fit the spec.
        DataError: the model or its texts cannot be read.
    """
    field = "spec.heldOutScreener" if isinstance(spec, HeldOutScreenerSpec) else "spec.screener"
    match spec.type:
        case "NBLogistic":
            return NBLogisticScreener(model=_nb_logistic(spec, datasets, roots, cache, field), threshold=spec.threshold)
        case "SequenceClassifier":
            # Half toxic, half neutral, so that a disagreement shows.
            sample = tuple(text for pair in zip(datasets.evaluation, datasets.neutral, strict=False) for text in pair)
            return build_sequence_classifier(spec, roots, Surroundings(field=field, cache=cache, sample=sample))
        case "ProfanityCheck":
            return _profanity_check(spec.threshold, roots, field)


@dataclass(frozen=True, kw_only=True)
class NBLogisticScreener:
    """Naive-Bayes weighted TF-IDF logistic regression, scored in Rust."""

    model: NbLogisticModel
    threshold: float

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        """Score and pass or fail each text."""
        scores = np.asarray(self.model.score(list(texts)), dtype=np.float64)
        # Compared before rounding to float32, which could lift a score to the threshold.
        return Verdicts(scores=scores.astype(np.float32), passed=scores < self.threshold)

    def toxic_words(self, n: int) -> tuple[str, ...]:
        """The n single words weighed as most toxic, most toxic first."""
        return tuple(found.word for found in self.model.toxic_words(n))

    def describe(self) -> str:
        """Kind, size and threshold."""
        return f"NBLogistic with {len(self.model.vocabulary)} word n-grams, threshold {self.threshold:g}"


@dataclass(frozen=True, kw_only=True)
class ProfanityCheckScreener:
    """The linear classifier of the package alt-profanity-check."""

    vectorizer: Any
    classifier: Any
    threshold: float

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        """Score and pass or fail each text."""
        scores: NDArray[np.float64] = self.classifier.predict_proba(self.vectorizer.transform(list(texts)))[:, 1]
        return Verdicts(scores=scores.astype(np.float32), passed=scores < self.threshold)

    def toxic_words(self, n: int) -> tuple[str, ...]:
        """None are offered: this screener only measures.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(f"spec.screener.type: ProfanityCheck has no word weights, so no {n} toxic words")

    def describe(self) -> str:
        """Package and threshold."""
        return f"ProfanityCheck (package alt-profanity-check), threshold {self.threshold:g}"


def _nb_logistic(
    spec: ScreenerSpec | HeldOutScreenerSpec, datasets: Datasets, roots: Roots, cache: Path | None, field: str
) -> NbLogisticModel:
    if spec.model is not None:
        return _loaded(resolve(spec.model, roots, field=f"{field}.model"), f"{field}.model")
    name = "held-out-screener.json" if isinstance(spec, HeldOutScreenerSpec) else "screener.json"
    if cache is not None and (cache / name).is_file():
        return _loaded(cache / name, field)
    model = _fitted(spec.fit or NBLogisticFitSpec(), datasets, roots, field)
    if cache is None:
        return model
    _save(model, cache / name)
    # Read back, so that the rank that fitted it and those that load it hold the same numbers.
    return _loaded(cache / name, field)


def _fitted(fit: NBLogisticFitSpec, datasets: Datasets, roots: Roots, field: str) -> NbLogisticModel:
    counts: dict[str, int] = {}
    toxic, neutral = datasets.screener_toxic, datasets.screener_neutral
    if fit.toxic is not None:
        measured = frozenset(datasets.evaluation)
        texts = load_texts(fit.toxic, roots, f"{field}.fit.toxic", counts)
        toxic = tuple(text for text in texts if text not in measured)
    if fit.neutral is not None:
        neutral = load_texts(fit.neutral, roots, f"{field}.fit.neutral", counts)
    if not toxic or not neutral:
        raise DataError(f"{field}.fit: {len(toxic)} toxic and {len(neutral)} neutral rows; both are needed")
    try:
        return fit_nb_logistic(
            list(toxic),
            list(neutral),
            ngram_range=(1, fit.max_ngram),
            min_df=fit.min_document_frequency,
            max_df=fit.max_document_share,
            sublinear_tf=True,
            strip_accents="unicode",
            C=fit.c,
            seed=0,
        )
    except ValueError as error:
        raise DataError(f"{field}.fit: {error}") from error


def _save(model: NbLogisticModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    model.save(staging)
    os.replace(staging, path)


def _loaded(path: Path, field: str) -> NbLogisticModel:
    try:
        return NbLogisticModel.load(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{field}: {path} is no fitted screener: {error}") from error


def _profanity_check(threshold: float, roots: Roots, field: str) -> ProfanityCheckScreener:
    vectorizer, classifier = (
        joblib.load(resolve(_PROFANITY_DATA.format(name=name), roots, field=field)) for name in ("vectorizer", "model")
    )
    return ProfanityCheckScreener(vectorizer=vectorizer, classifier=classifier, threshold=threshold)
