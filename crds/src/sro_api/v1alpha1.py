"""SROJob, `sro.dev/v1alpha1`: the whole wire contract in one place.

Frozen pydantic models; `sro_api.schema` makes the CustomResourceDefinition from them. What one field cannot say is a CEL
rule beside the type that it is about, enforced by the API server and, with the same text, by `sro validate`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sro_api.base import ApiModel, Manifest, rule
from sro_api.compute import ComputeSpec, RunPolicySpec, SecretReference
from sro_api.deepspeed import DeepSpeedSpec
from sro_api.evaluation import EvaluationSpec
from sro_api.method import MethodSpec
from sro_api.status import SROJobStatus
from sro_api.training import (
    DataSpec,
    GuardsSpec,
    HeldOutScreenerSpec,
    LeaderSpec,
    OptimizationSpec,
    OutputSpec,
    ScreenerSpec,
)

NAME_LIMIT = 46
"""Characters of an SROJob's name: `<name>-a<attempt>-<index>` must fit into a pod's host name of 63."""


@rule("self.guards.minCharacters <= self.leader.maxNewTokens * 32", "cannot be reached within leader.maxNewTokens",
      at=".guards.minCharacters", shows="self.guards.minCharacters",)  # fmt: skip
@rule(
    "!has(self.leader.warmStart) || has(self.data.neutral)",
    "is required for leader.warmStart, which restores neutral sentences",
    at=".data.neutral",
    reason="FieldValueRequired",
)
@rule(
    "!has(self.optimization.steps) || self.optimization.steps > 0 || has(self.leader.warmStart)",
    "must be at least 1 without leader.warmStart: there is nothing else to train",
    at=".optimization.steps",
    shows="self.optimization.steps",
)
@rule(
    "!has(self.leader.warmStart) || self.screener.type == 'NBLogistic'",
    "needs screener.type NBLogistic, whose word weights it corrupts with",
    at=".leader.warmStart",
)
@rule(
    "!has(self.leader.warmStart) || self.leader.warmStart.batchSize % (self.compute.nodes * self.compute.processesPerNode) == 0",
    "must be a multiple of compute.nodes x compute.processesPerNode",
    at=".leader.warmStart.batchSize",
    shows="self.leader.warmStart.batchSize",
)
@rule(
    "self.screener.type != 'NBLogistic' || has(self.screener.model) || has(self.data.neutral) || "
    "(has(self.screener.fit) && has(self.screener.fit.neutral))",
    "is required to fit screener.type NBLogistic",
    at=".data.neutral",
    reason="FieldValueRequired",
)
@rule(
    "!has(self.heldOutScreener) || self.heldOutScreener.type != 'NBLogistic' || has(self.heldOutScreener.model) || "
    "(has(self.heldOutScreener.fit) && has(self.heldOutScreener.fit.toxic) && has(self.heldOutScreener.fit.neutral))",
    "needs a model, or both fit.toxic and fit.neutral: fitted on the job's own rows it would not be held out",
    at=".heldOutScreener",
)
@rule(
    "!has(self.heldOutScreener) || !has(self.heldOutScreener.model) || !has(self.screener.model) || "
    "self.heldOutScreener.model != self.screener.model",
    "must not be the training screener's model: it would measure nothing new",
    at=".heldOutScreener.model",
    shows="self.heldOutScreener.model",
)
@rule(
    "!has(self.data.evaluation) || self.data.evaluation.uri != self.data.toxic.uri || "
    "(has(self.data.evaluation.column) && has(self.data.toxic.column) && self.data.evaluation.column != self.data.toxic.column)",
    "must not be the training rows; leave it out to hold rows out by the seed",
    at=".data.evaluation.uri",
    shows="self.data.evaluation.uri",
)
@rule(
    "!has(self.evaluation.fluency) || self.evaluation.fluency.type != 'CorruptionDetector' || !has(self.guards.fluency) || "
    "!has(self.evaluation.fluency.model) || self.evaluation.fluency.model != self.guards.fluency.model || "
    "self.evaluation.fluency.layers != self.guards.fluency.layers",
    "must not be the model of guards.fluency with as many layers: training would be measured by what it is guided by",
    at=".evaluation.fluency.model",
    shows="self.evaluation.fluency.model",
)
@rule(
    "self.optimization.batchSize % (self.compute.nodes * self.compute.processesPerNode * "
    "self.optimization.gradientAccumulationSteps) == 0",
    "must be a multiple of compute.nodes x compute.processesPerNode x optimization.gradientAccumulationSteps",
    at=".optimization.batchSize",
    shows="self.optimization.batchSize",
)
@rule(
    "!has(self.compute.minNodes) || !has(self.runPolicy.startupTimeoutSeconds) || "
    "self.runPolicy.startupTimeoutSeconds > self.compute.shrinkAfterSeconds",
    "must be more than compute.shrinkAfterSeconds: the job would fail before it shrinks",
    at=".runPolicy.startupTimeoutSeconds",
    shows="self.runPolicy.startupTimeoutSeconds",
)
@rule(
    "self.compute.nodes == 1 || self.output.uri.startsWith('pvc://') || "
    "(has(self.output.checkpoints) && self.output.checkpoints.startsWith('pvc://'))",
    "must be on a shared claim (pvc://) where compute.nodes is above 1: every pod writes its part of a checkpoint",
    at=".output.uri",
    shows="self.output.uri",
)
@rule(
    "self.method.type != 'OnlineDPO' || self.leader.sampling.paraphrasesPerSource >= 2",
    "must be 2 or more for method.type OnlineDPO, which compares paraphrases of one source",
    at=".leader.sampling.paraphrasesPerSource",
    shows="self.leader.sampling.paraphrasesPerSource",
)
@rule(
    "!has(self.method.sro) || self.method.sro.pairWeight == 0.0 || self.leader.sampling.paraphrasesPerSource >= 2",
    "must be 2 or more for method.sro.pairWeight, which compares paraphrases of one source",
    at=".leader.sampling.paraphrasesPerSource",
    shows="self.leader.sampling.paraphrasesPerSource",
)
@rule(
    "self.method.type != 'KTO' || self.optimization.batchSize >= 2",
    "must be 2 or more for method.type KTO, whose KL is taken on mismatched pairs",
    at=".optimization.batchSize",
    shows="self.optimization.batchSize",
)
@rule(
    "self.method.verdictNoise.correction != 'estimated' || has(self.data.neutral)",
    "is required for method.verdictNoise.correction estimated, which needs rows that are certain to pass",
    at=".data.neutral",
    reason="FieldValueRequired",
)
@rule(
    "!has(self.method.sro) || !self.method.sro.softVerdict || has(self.data.neutral)",
    "is required for method.sro.softVerdict, which needs rows that are certain to pass",
    at=".data.neutral",
    reason="FieldValueRequired",
)
@rule(
    "self.method.type != 'SFT' || has(self.data.parallel)",
    "is required for method.type SFT, which learns from pairs",
    at=".data.parallel",
    reason="FieldValueRequired",
)
@rule(
    "self.method.type == 'SFT' || !has(self.data.parallel)",
    "is only for method.type SFT: no other may see pairs",
    at=".data.parallel",
    reason="FieldValueForbidden",
)
class SROJobSpec(ApiModel):
    """What to train, on what, and where."""

    leader: LeaderSpec
    screener: ScreenerSpec = ScreenerSpec()
    held_out_screener: HeldOutScreenerSpec | None = HeldOutScreenerSpec()
    """null measures with the training screener alone."""
    guards: GuardsSpec = GuardsSpec()
    method: MethodSpec = MethodSpec()
    data: DataSpec
    evaluation: EvaluationSpec = EvaluationSpec()
    optimization: OptimizationSpec = OptimizationSpec()
    deepspeed: DeepSpeedSpec = DeepSpeedSpec()
    compute: ComputeSpec = ComputeSpec()
    run_policy: RunPolicySpec = RunPolicySpec()
    output: OutputSpec
    credentials: Annotated[
        tuple[SecretReference, ...],
        Field(
            max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = ()
    """Secrets whose keys become environment variables of the trainer, as HF_TOKEN or AWS_ACCESS_KEY_ID."""


CHANGEABLE: Final = frozenset({"spec.runPolicy", "spec.compute.priorityClassName"})
"""What of a spec may change once the job exists; whatever is added here is fixed unless it is named."""


@rule(
    f"size(self.metadata.name) <= {NAME_LIMIT} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    f"metadata.name must be a DNS label of at most {NAME_LIMIT} characters that starts with a letter: pods are named after it",
    shows="self.metadata.name",
)
class SROJob(ApiModel):
    """A training run: a leader learns to rewrite toxic text from the verdicts of a screener."""

    api_version: Literal["sro.dev/v1alpha1"] = "sro.dev/v1alpha1"
    kind: Literal["SROJob"] = "SROJob"
    metadata: Manifest
    spec: SROJobSpec
    status: SROJobStatus = SROJobStatus()

    @property
    def name(self) -> str:
        """Name within the namespace."""
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        """The namespace; `default` where the manifest names none."""
        return str(self.metadata.get("namespace", "default"))


class SROJobs(ApiModel):
    """The names under which the API server serves SROJob."""

    plural: Literal["srojobs"] = "srojobs"
    short_names: tuple[str, ...] = ("sro",)
    categories: tuple[str, ...] = ("all", "training")
