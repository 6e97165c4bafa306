"""A transformers classifier as the follower: tokenized, batched and post-processed in Rust, one forward per batch here."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

import sro_screener
from sro_api.fluency import FluencySpec
from sro_api.sources import Roots
from sro_api.training import HeldOutScreenerSpec, ScreenerSpec
from sro_screener import Encoder
from sro_trainer.batch_stream import batch_stream
from sro_trainer.budget import calibrated_budget, remembered_budget
from sro_trainer.errors import ConfigurationError, DataError, unreadable
from sro_trainer.forward import Forward, Logits, TorchForward
from sro_trainer.onnx_forward import Agreement, OnnxForward, agreement, onnx_graph
from sro_trainer.score_memo import ScoreMemo
from sro_trainer.second_reading import MOST_READ_AGAIN, SecondReading, band_of, in_doubt
from sro_trainer.sources_io import ModelLocation, resolve_model
from sro_trainer.verdicts import Verdicts

logger = logging.getLogger(__name__)

LEAST_AGREEMENT = 0.95
"""Share of verdicts on which a runtime must agree with torch in float32."""
SAMPLE = 128
"""Texts on which they are compared, at most."""
_ANY_TEXTS = (
    "You are a fool and nobody likes you.",
    "Thank you, that was kind.",
    "What a stupid idea!",
    "See you on Monday.",
)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a run knows beside the spec."""

    field: str
    """Where the spec stands, for messages."""
    cache: Path | None = None
    """Folder of the run's screeners."""
    sample: tuple[str, ...] = ()
    """Texts of the run, to compare runtimes on."""


def build_sequence_classifier(
    spec: ScreenerSpec | HeldOutScreenerSpec, roots: Roots, around: Surroundings
) -> SequenceClassifierScreener:
    """Load a checkpoint and its tokenizer, and prepare what computes it.

    Raises:
        ConfigurationError: its tokenizer is of a kind that is not supported, the label index is no label of it, or the
            runtime's verdicts are not those of float32.
        DataError: there is no classifier at the URI.
    """
    assert spec.model is not None
    field = around.field
    location = resolve_model(spec.model, roots, field=f"{field}.model")
    encoder = load_encoder(location, spec.max_tokens, f"{field}.model")
    # The fused attention of torch is no graph; by parts it exports, and gives the same.
    attention = {} if spec.runtime == "Torch" else {"attn_implementation": "eager"}
    model = load_classifier(spec, location, field, **attention)
    plain: Forward = TorchForward(model)
    if spec.runtime == "Torch":
        return SequenceClassifierScreener(plain, encoder, spec, max_tokens=_budget(plain, spec, around))
    # A folder of our own: whoever can write to a shared one could put another graph there.
    folder = around.cache or Path(tempfile.mkdtemp(prefix="sro-classifier-"))
    exact = OnnxForward(onnx_graph(model, location.folder, folder, "float32"))
    forward = OnnxForward(onnx_graph(model, location.folder, folder, "int8")) if spec.runtime == "OnnxInt8" else exact
    second, found = _verified(_Forwards(plain=plain, exact=exact, used=forward), encoder, spec, around)
    max_tokens = _budget(forward, spec, around)
    return SequenceClassifierScreener(forward, encoder, spec, max_tokens=max_tokens, agreement=found, second=second)


def load_classifier(
    spec: ScreenerSpec | HeldOutScreenerSpec | FluencySpec, location: ModelLocation, field: str, **options: Any
) -> Any:
    """A transformers classifier in float32, ready to score; `options` go to transformers.

    Raises:
        ConfigurationError: `labelIndex` is no label of it.
        DataError: there is no classifier at the location.
    """
    with unreadable(f"{field}.model: {spec.model!r} is no classifier"):
        model = AutoModelForSequenceClassification.from_pretrained(location.folder, dtype=torch.float32, **options)
    if spec.label_index >= model.config.num_labels:
        raise ConfigurationError(f"{field}.labelIndex: {spec.label_index} is not below {model.config.num_labels}")
    return model.eval()


def _budget(forward: Forward, spec: ScreenerSpec | HeldOutScreenerSpec, around: Surroundings) -> int:
    if spec.batch_tokens is not None:
        return spec.batch_tokens

    def measure() -> int:
        return calibrated_budget(forward, max_tokens=spec.max_tokens, now=time.perf_counter)

    name = f"{around.field.removeprefix('spec.')}-{spec.runtime}-batch-tokens.json"
    budget = remembered_budget(around.cache / name if around.cache else None, measure)
    logger.info("batch tokens calibrated", extra={"field": around.field, "batch_tokens": budget})
    return budget


@dataclass(frozen=True, kw_only=True)
class _Forwards:
    """Torch in float32, ONNX Runtime in float32, and the one that reads every text."""

    plain: Forward
    exact: Forward
    """Reads again what is in doubt: two pools of threads, torch's and another, would wait for each other."""
    used: Forward


def _verified(
    forwards: _Forwards, encoder: Encoder, spec: ScreenerSpec | HeldOutScreenerSpec, around: Surroundings
) -> tuple[SecondReading | None, Agreement]:
    """What reads texts in doubt, and how the verdicts compare with torch's in float32 after that."""
    texts = list((around.sample or _ANY_TEXTS)[:SAMPLE])

    def scores(of: Forward, second: SecondReading | None = None) -> NDArray[np.float32]:
        max_tokens = spec.batch_tokens or 4096
        return SequenceClassifierScreener(of, encoder, spec, max_tokens=max_tokens, second=second)._score(texts)

    reference, exact = scores(forwards.plain), scores(forwards.exact)
    found, second = _agreed(exact, reference, spec, around), None
    if forwards.used is not forwards.exact:
        coarse = scores(forwards.used)
        second = SecondReading(forward=forwards.exact, band=band_of(coarse, reference))
        read_again = float(in_doubt(coarse, spec.threshold, second.band).mean())
        if read_again > MOST_READ_AGAIN:
            raise ConfigurationError(
                f"{around.field}.runtime: {spec.runtime} errs so far that {read_again:.0%} of {len(texts)} texts would be read "
                f"again in float32; at most {MOST_READ_AGAIN:.0%} are worth it, so use Torch"
            )
        logger.info("texts in doubt are read again", extra={"share": read_again, "band": second.band})
        found = _agreed(scores(forwards.used, second), reference, spec, around)
    logger.info("classifier compared with float32", extra={"runtime": spec.runtime, "agreement": str(found)})
    return second, found


def _agreed(
    scores: NDArray[np.float32],
    reference: NDArray[np.float32],
    spec: ScreenerSpec | HeldOutScreenerSpec,
    around: Surroundings,
) -> Agreement:
    found = agreement(scores, reference, spec.threshold)
    if found.verdicts < LEAST_AGREEMENT:
        raise ConfigurationError(
            f"{around.field}.runtime: {spec.runtime} gives {found}; at least {LEAST_AGREEMENT:.0%} must agree, so use Torch"
        )
    return found


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
    """A frozen classifier with one label that means toxic; it remembers what it has judged."""

    def __init__(
        self,
        forward: Forward,
        encoder: Encoder,
        spec: ScreenerSpec | HeldOutScreenerSpec,
        *,
        max_tokens: int,
        agreement: Agreement | None = None,
        second: SecondReading | None = None,
    ) -> None:
        self._forward = forward
        self._encoder = encoder
        self._spec = spec
        self._max_tokens = max_tokens
        self._agreement = agreement
        self._second = second
        self._memo = ScoreMemo(self._score)

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        """Score and pass or fail each text."""
        scores = self._memo.scores(texts)
        # Compared as float32, as the extension does.
        return Verdicts(scores=scores, passed=scores < np.float32(self._spec.threshold))

    def toxic_words(self, n: int) -> tuple[str, ...]:
        """A network weighs no single words.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(f"spec.screener.type: SequenceClassifier has no word weights, so no {n} toxic words")

    def describe(self) -> str:
        """Checkpoint, label and threshold; of another runtime than torch how far it agrees with it."""
        runtime = f", {self._spec.runtime}: {self._agreement}" if self._agreement else ""
        return (
            f"SequenceClassifier {self._spec.model}, label {self._spec.label_index}, threshold {self._spec.threshold:g}"
            f"{runtime}"
        )

    def _score(self, texts: list[str]) -> NDArray[np.float32]:
        scores = self._read(self._forward, texts)
        if self._second is not None:
            doubted = np.flatnonzero(in_doubt(scores, self._spec.threshold, self._second.band))
            if len(doubted):
                scores[doubted] = self._read(self._second.forward, [texts[place] for place in doubted.tolist()])
        return scores

    def _read(self, forward: Forward, texts: list[str]) -> NDArray[np.float32]:
        logits: Logits | None = None
        for batch in batch_stream(self._encoder, texts, self._max_tokens):
            found = forward(batch.input_ids, batch.attention_mask)
            if logits is None:
                logits = np.empty((len(texts), found.shape[1]), dtype=np.float32)
            logits[batch.places] = found
        assert logits is not None
        # All at once, so that a logit that is no number is named by the place of its text.
        scores, _ = sro_screener.verdicts(
            logits,
            label_index=self._spec.label_index,
            activation=self._spec.activation,
            threshold=self._spec.threshold,
        )
        return scores
