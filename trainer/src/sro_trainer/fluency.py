"""Fluency of a text, in [0, 1]: the port, and the two kinds behind it."""

from __future__ import annotations

import importlib.metadata
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sro_api.fluency import FluencyGuardSpec, FluencySpec
from sro_api.sources import Roots
from sro_screener import Encoder
from sro_trainer.data import fingerprint
from sro_trainer.detector import Agreement, Fitted, fit_detector
from sro_trainer.disfluency import normalised, split_words
from sro_trainer.errors import DataError
from sro_trainer.sequence_classifier import load_classifier, load_encoder
from sro_trainer.sources_io import resolve_model
from sro_trainer.word_states import WordReader, build_word_reader

Scores = NDArray[np.float64]

FIELD = "spec.evaluation.fluency"
GUARD_FIELD = "spec.guards.fluency"


class Fluency(Protocol):
    """Says how much a text reads as a person's sentence."""

    def scores(self, texts: Sequence[str]) -> Scores:
        """One score per text, in [0, 1], shape (n,)."""
        ...

    def describe(self) -> str:
        """One line for reports: kind, model, and how well it tells human-written sentences from corrupted ones."""
        ...


class CorruptionDetector:
    """Human-written sentences against corrupted ones, on a frozen language model; remembers what it has read."""

    def __init__(self, reader: WordReader, fitted: Fitted, model: str) -> None:
        self._reader = reader
        self._fitted = fitted
        self._model = model
        self._known: dict[str, float] = {}

    @property
    def agreement(self) -> Agreement:
        """How it does on sentences that it was not fitted on."""
        return self._fitted.agreement

    def scores(self, texts: Sequence[str]) -> Scores:
        """One score per text; an empty text scores 0."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(unknown) > REMEMBERED:
            self._known.clear()
            unknown = list(dict.fromkeys(texts))
        words = [split_words(normalised(text)) for text in unknown]
        spoken = [row for row, pieces in enumerate(words) if pieces]
        found = np.zeros(len(unknown), dtype=np.float64)
        if spoken:
            found[spoken] = self._fitted.detector.judged(self._reader.states([words[row] for row in spoken]))
        self._known.update(zip(unknown, found.tolist(), strict=True))
        return np.array([self._known[text] for text in texts], dtype=np.float64)

    def describe(self) -> str:
        """Model and agreement."""
        agreement = self._fitted.agreement
        return (
            f"CorruptionDetector on {self._model}: tells human-written from corrupted sentences with an area under the curve of "
            f"{agreement.auc:.3f} ({len(agreement.clean)} of each, kept back)"
        )


REMEMBERED = 65_536
"""Scores kept."""


class AcceptabilityClassifier:
    """A transformers classifier of one label that means acceptable, as RoBERTa fitted on CoLA.

    See:
        Krishna et al. 2020; ParaDetox's metric tools attach punctuation to the words before it, and so does this.
    """

    def __init__(self, model: Any, encoder: Encoder, spec: FluencySpec) -> None:
        self._model = model
        self._encoder = encoder
        self._spec = spec

    @torch.no_grad()
    def scores(self, texts: Sequence[str]) -> Scores:
        """Softmax of the label, per text."""
        scores = np.zeros(len(texts), dtype=np.float64)
        prepared = [attached(text) for text in texts]
        for batch in self._encoder.encode(prepared, max_tokens=4096) if texts else ():
            ids, mask = torch.from_numpy(batch.input_ids).long(), torch.from_numpy(batch.attention_mask())
            logits = self._model(
                input_ids=ids.to(self._model.device), attention_mask=mask.to(self._model.device)
            ).logits
            scores[batch.permutation] = torch.softmax(logits.double(), dim=-1)[:, self._spec.label_index].cpu().numpy()
        return scores

    def describe(self) -> str:
        """Checkpoint, label and threshold."""
        spec = self._spec
        return f"SequenceClassifier {spec.model}, label {spec.label_index}, threshold {spec.threshold:g}"


def attached(text: str) -> str:
    """The text without the spaces before `. , ! ? )` and after `(`."""
    for mark in ".,!?)":
        text = text.replace(f" {mark}", mark)
    return text.replace("( ", "(")


def fit_texts(neutral: Sequence[str], toxic: Sequence[str], *, seed: int) -> tuple[list[str], list[str]]:
    """Human-written sentences for the evaluation's detector and, others, for the guard's.

    A toxic sentence is human-written too, and does as well: it is there clean and corrupted, so its words tell nothing.

    Args:
        neutral: of the job; may be empty.
        toxic: the leader's, used where there are no neutral ones.
        seed: of the shuffle.
    """
    texts = list(neutral or toxic)
    random.Random(f"{seed}/fluency").shuffle(texts)
    half = len(texts) // 2
    return texts[:half], texts[half:]


def build_fluency(
    spec: FluencySpec, roots: Roots, texts: Sequence[str], *, seed: int, caches: Sequence[Path] = ()
) -> Fluency:
    """The evaluation's fluency.

    Args:
        spec: what to build.
        roots: where relative and claim URIs start.
        texts: human-written sentences to fit a detector on.
        seed: of the corruption.
        caches: folders of fitted classifiers. One that was fitted on the same is taken from any of them; a new one is put in the
            first.

    Raises:
        ConfigurationError: the model does not fit the spec.
        DataError: the model cannot be read, or there are too few texts.
    """
    if spec.type == "SequenceClassifier":
        return _classifier(spec, roots)
    files = [cache / "fluency.npz" for cache in caches]
    chosen = texts[: spec.fit_rows]
    return _detector(spec.effective_model, spec.layers, roots, chosen, field=FIELD, seed=seed, files=files)


def build_fluency_guard(
    spec: FluencyGuardSpec, roots: Roots, texts: Sequence[str], *, seed: int, caches: Sequence[Path] = ()
) -> CorruptionDetector:
    """The training guard; arguments and errors as in `build_fluency`."""
    files = [cache / "fluency-guard.npz" for cache in caches]
    chosen = texts[: spec.fit_rows]
    return _detector(spec.model, spec.layers, roots, chosen, field=GUARD_FIELD, seed=seed, files=files)


def _detector(
    model: str, layers: int, roots: Roots, texts: Sequence[str], *, field: str, seed: int, files: Sequence[Path]
) -> CorruptionDetector:
    location = resolve_model(model, roots, field=f"{field}.model")
    reader = build_word_reader(location, layers=layers, field=f"{field}.layers")
    key = fingerprint([[importlib.metadata.version("sro-trainer"), model, str(layers), str(seed)], texts])
    own = _known(files[:1], key)
    fitted = own or _known(files[1:], key)
    if fitted is None:
        try:
            fitted = replace(fit_detector(reader, texts, seed=seed), key=key)
        except ValueError as error:
            raise DataError(f"{field}: cannot be fitted: {error}") from error
    if files and own is None:
        fitted.save(files[0])
    return CorruptionDetector(reader, fitted, model)


def _known(files: Sequence[Path], key: str) -> Fitted | None:
    stored = (Fitted.load(file) for file in files if file.is_file())
    return next((found for found in stored if found.key == key), None)


def _classifier(spec: FluencySpec, roots: Roots) -> AcceptabilityClassifier:
    assert spec.model is not None
    location = resolve_model(spec.model, roots, field=f"{FIELD}.model")
    encoder = load_encoder(location, spec.max_tokens, f"{FIELD}.model")
    return AcceptabilityClassifier(load_classifier(spec, location, FIELD), encoder, spec)
