"""`spec.screener.perturbation`: experiments on a follower that errs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sro_api.base import ApiModel, rule

PerturbationKind = Literal[
    "None", "SymmetricFlips", "FailedToPassed", "PassedToFailed", "NearThreshold", "ThresholdShift", "BlindSpots"
]


@rule("self.kind == 'None' || self.rate > 0.0", "must be above 0 for this kind", at=".rate", shows="self.rate")
@rule("self.kind != 'None' || self.rate == 0.0", "must be 0 for kind None", at=".rate", shows="self.rate")
class PerturbationSpec(ApiModel):
    """Makes the training screener err on purpose. Evaluation is never perturbed. The same rows err in every run of one
    `optimization.seed`, whatever the number of processes."""

    kind: PerturbationKind = "None"
    """SymmetricFlips: each verdict is turned with probability `rate`. FailedToPassed, PassedToFailed: only failed, or only passed
    ones are. NearThreshold: a score nearer than `rate` to the threshold is answered by a coin. ThresholdShift: the threshold moves
    up by `rate` of its distance to 1. BlindSpots: the screener has forgotten that share of its words."""
    rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How much; what of is said by each kind."""
