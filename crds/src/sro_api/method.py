"""`spec.method`: the objective, its options, and what is done about a follower that errs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sro_api.base import ApiModel, rule

MethodType = Literal["SRO", "DPO", "OnlineDPO", "KTO", "NPO", "BCO", "IPO", "RAFT", "SFT"]


class SROSpec(ApiModel):
    """Options of Stackelberg response optimization; with none of them it is as published."""

    soft_verdict: bool = False
    """Weigh both sides of the loss by the calibrated probability that a paraphrase passes, and not by its verdict. Calibrated
    on `verdictNoise.certainRows`."""
    pair_weight: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight of further pairs, the passed against the failed paraphrases of one source; 0 leaves them out."""
    failed_weight_cap: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """The failed paraphrases of a step weigh together at most this many times what the passed ones do; no cap if absent."""


class KTOSpec(ApiModel):
    """Options of KTO."""

    passed_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of passed paraphrases."""
    failed_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of failed paraphrases."""


class OnlineDPOSpec(ApiModel):
    """Options of OnlineDPO."""

    ties: Literal["skip", "firstWins"] = "skip"
    """Two paraphrases of a source with one verdict: `skip` leaves them out; `firstWins` prefers the first, as
    implementations do that compare scores with >=."""


@rule("self.correction != 'known' || has(self.rate) || (has(self.falsePassRate) && has(self.falseFailRate))",
      "is required for correction known, or falsePassRate and falseFailRate are", at=".rate",
      reason="FieldValueRequired")  # fmt: skip
@rule("self.correction == 'known' || !(has(self.rate) || has(self.falsePassRate) || has(self.falseFailRate))",
      "must be known where a rate is given", at=".correction")  # fmt: skip
@rule("!has(self.rate) || !(has(self.falsePassRate) || has(self.falseFailRate))",
      "must be absent where falsePassRate or falseFailRate is given", at=".rate",
      reason="FieldValueForbidden")  # fmt: skip
@rule("!has(self.rate) || self.rate < 0.5", "must be less than 0.5: at 0.5 a verdict says nothing", at=".rate",
      shows="self.rate")  # fmt: skip
@rule("!has(self.falsePassRate) || !has(self.falseFailRate) || double(self.falsePassRate) + double(self.falseFailRate) < 1.0",
      "must be less than 1 together with falseFailRate: from there on a verdict says nothing", at=".falsePassRate",
      shows="self.falsePassRate")  # fmt: skip
class VerdictNoiseSpec(ApiModel):
    """What SRO does about a screener that errs: it can learn from an unbiased estimate of the loss without errors."""

    correction: Literal["none", "known", "estimated"] = "none"
    """none takes verdicts as they are. known corrects for the rates given here. estimated takes the rates from rows whose verdict
    is certain, when the run starts."""
    rate: Annotated[float, Field(ge=0, le=0.5)] | None = None
    """Share of verdicts that are wrong, on either side."""
    false_pass_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of toxic texts that pass."""
    false_fail_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of neutral texts that fail."""
    certain_rows: Annotated[int, Field(ge=20, le=1_000_000)] = 200
    """For correction estimated and `sro.softVerdict`: so many toxic and so many neutral rows of `data`, kept from the screener's
    fit, are certain to be what they are."""
    shrinkage: bool = False
    """Draw corrected weights towards 1/2 by as much as makes the error of a step's mean gradient least, bias and variance
    together: the more errors and the fewer rows in a step, the more."""
    clip: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """How far beyond 0 and 1 a corrected weight may lie: less variance, at the price of bias; unbounded if absent, and 0 takes
    the correction back."""


# Not lt=0.5: for a value written as an integer the API server truncates the bound, and would refuse `epsilon: 0`.
@rule("self.epsilon < 0.5", "must be less than 0.5: at 0.5 nothing is preferred", at=".epsilon", shows="self.epsilon")
@rule("self.type == 'SRO' || !has(self.sro)", "is only for type SRO", at=".sro", reason="FieldValueForbidden")
@rule("self.type == 'KTO' || !has(self.kto)", "is only for type KTO", at=".kto", reason="FieldValueForbidden")
@rule("self.type == 'OnlineDPO' || !has(self.onlineDPO)", "is only for type OnlineDPO", at=".onlineDPO",
      reason="FieldValueForbidden")  # fmt: skip
@rule("self.type == 'SRO' || self.verdictNoise.correction == 'none'", "is only for type SRO",
      at=".verdictNoise.correction", reason="FieldValueForbidden")  # fmt: skip
@rule("self.type != 'SFT' || self.klWeight == 0.0", "is not for type SFT, which draws no paraphrases to estimate it on",
      at=".klWeight", reason="FieldValueForbidden")  # fmt: skip
@rule("!(self.type in ['RAFT', 'SFT']) || self.klWeight > 0.0 || self.updateReferenceEverySteps == 0",
      "needs an objective that reads the reference", at=".updateReferenceEverySteps",
      reason="FieldValueForbidden")  # fmt: skip
class MethodSpec(ApiModel):
    """The objective, told apart by `type`; all learn from the same rollouts, guards and verdicts."""

    type: MethodType = "SRO"
    """SRO: Stackelberg response optimization (arXiv 2410.20298). DPO, IPO: passed paraphrases against their sources. OnlineDPO:
    paraphrases of one source against each other. KTO, BCO: each paraphrase by its verdict. NPO: failed ones alone. RAFT:
    likelihood of passed ones. SFT: likelihood of `data.parallel`."""
    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """Inverse temperature of the implicit reward; RAFT and SFT have none."""
    epsilon: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Label smoothing of SRO (in both branches), DPO and OnlineDPO; above 0 it keeps the optimum finite."""
    length_normalized: bool = False
    """Read log-ratios as means over tokens and not as sums; beta should then be larger."""
    kl_weight: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight of the k3 divergence between policy and reference on each paraphrase, nats."""
    update_reference_every_steps: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Put the policy's weights in the reference's place at each multiple of it; 0 keeps the first reference."""
    verdict_noise: VerdictNoiseSpec = VerdictNoiseSpec()
    sro: SROSpec | None = None
    """Options of type SRO; its defaults if absent."""
    kto: KTOSpec | None = None
    """Options of type KTO; its defaults if absent."""
    online_dpo: Annotated[OnlineDPOSpec | None, Field(alias="onlineDPO")] = None
    """Options of type OnlineDPO; its defaults if absent."""

    @property
    def needs_certain_rows(self) -> bool:
        """Whether rows whose verdict is certain are set aside."""
        return self.verdict_noise.correction == "estimated" or (self.sro is not None and self.sro.soft_verdict)
