"""A transformers classifier as the follower: tokenized, batched and post-processed in Rust, one forward per batch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

import sro_screener
from sro_api.sources import Roots
from sro_api.training import HeldOutScreenerSpec, ScreenerSpec
from sro_screener import Encoder
from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.sources_io import ModelLocation, resolve_model
from sro_trainer.verdicts import Verdicts


def build_sequence_classifier(
    spec: ScreenerSpec | HeldOutScreenerSpec, roots: Roots, field: str
) -> SequenceClassifierScreener:
    """Load a checkpoint and its tokenizer.

    Raises:
        ConfigurationError: its tokenizer is of a kind that is not supported, or the label index is no label of it.
        DataError: there is no classifier at the URI.
    """
    assert spec.model is not None
    location = resolve_model(spec.model, roots, field=f"{field}.model")
    encoder = load_encoder(location, spec.max_tokens, f"{field}.model")
    try:
        model = AutoModelForSequenceClassification.from_pretrained(location.folder, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{field}.model: {spec.model!r} is no classifier: {str(error).splitlines()[0]}") from error
    if spec.label_index >= model.config.num_labels:
        raise ConfigurationError(f"{field}.labelIndex: {spec.label_index} is not below {model.config.num_labels}")
    return SequenceClassifierScreener(model.eval(), encoder, spec)


def load_encoder(location: ModelLocation, max_tokens: int, field: str) -> Encoder:
    """The tokenizer of a model folder, as Rust reads it.

    Raises:
        ConfigurationError: it is of a kind that is not supported; the message has the reason.
        DataError: the folder has no `tokenizer.json`.
    """
    if not location.tokenizer_json.is_file():
        raise DataError(f"{field}: {location.folder} has no tokenizer.json")
    try:
        return Encoder.from_file(location.tokenizer_json, max_length=max_tokens)
    except ValueError as error:
        raise ConfigurationError(f"{field}: its tokenizer.json is not supported: {error}") from error


class SequenceClassifierScreener:
    """A frozen transformers classifier with one label that means toxic."""

    def __init__(self, model: Any, encoder: Encoder, spec: ScreenerSpec | HeldOutScreenerSpec) -> None:
        self._model = model
        self._encoder = encoder
        self._spec = spec

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        """Score and pass or fail each text."""
        scores = np.zeros(len(texts), dtype=np.float32)
        passed = np.zeros(len(texts), dtype=np.bool_)
        for batch in self._encoder.encode(list(texts), max_tokens=self._spec.batch_tokens) if texts else ():
            scores[batch.permutation], passed[batch.permutation] = sro_screener.verdicts(
                self._logits(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask())),
                label_index=self._spec.label_index,
                activation=self._spec.activation,
                threshold=self._spec.threshold,
            )
        return Verdicts(scores=scores, passed=passed)

    def toxic_words(self, n: int) -> tuple[str, ...]:
        """A network weighs no single words.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(f"spec.screener.type: SequenceClassifier has no word weights, so no {n} toxic words")

    def describe(self) -> str:
        """Checkpoint, label and threshold."""
        return (
            f"SequenceClassifier {self._spec.model}, label {self._spec.label_index}, threshold {self._spec.threshold:g}"
        )

    @torch.no_grad()
    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        device = self._model.device
        logits = self._model(input_ids=ids.long().to(device), attention_mask=mask.to(device)).logits
        values: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = logits.float().cpu().numpy()
        return values
