"""The objective that `spec.method` names: its loss, the rows that it learns from and what it needs scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from torch import Tensor

from sro_api.method import KTOSpec, MethodSpec, OnlineDPOSpec, SROSpec
from sro_api.v1alpha1 import SROJobSpec
from sro_trainer.loss import (
    Scores,
    bco_loss,
    dpo_loss,
    ipo_loss,
    kto_loss,
    npo_loss,
    online_dpo_loss,
    sft_loss,
    sro_loss,
)
from sro_trainer.scored_rows import ScoredRow, Unit, by_source

Ties = Literal["skip", "firstWins"]


def singly(rows: Iterable[ScoredRow]) -> list[Unit]:
    """Every row on its own."""
    return [(row,) for row in rows]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What one type of method asks of a step."""

    loss: Callable[[Scores], Tensor]
    """One value per row of a part."""
    units: Callable[[Sequence[ScoredRow]], list[Unit]] = singly
    """The rows that are learnt from, those of one unit scored together. The loss is a mean over them all."""
    rows_per_unit: int = 1
    """Rows of an idle unit, on a rank that has none."""
    reads_source: bool = False
    """Whether the source of a row with a passed side is scored."""
    anchored: bool = True
    """Whether `guards.anchorWeight` is added: not where the loss is a likelihood itself."""
    shift: Literal["none", "mismatched", "mean reward"] = "none"
    """What rewards are compared with."""


def build_objective(spec: SROJobSpec) -> Objective:
    """The one place where a type becomes an objective."""
    method, count = spec.method, spec.leader.sampling.paraphrases_per_source
    beta, epsilon = method.beta, method.epsilon
    match method.type:
        case "SRO":
            options = method.sro or SROSpec()
            loss = partial(sro_loss, beta=beta, epsilon=epsilon, pair_weight=options.pair_weight, group_size=count)
            return Objective(loss=loss, units=by_source if options.pair_weight else singly, reads_source=True)
        case "DPO":
            return Objective(loss=partial(dpo_loss, beta=beta, epsilon=epsilon), units=passing, reads_source=True)
        case "OnlineDPO":
            ties = (method.online_dpo or OnlineDPOSpec()).ties
            loss = partial(online_dpo_loss, beta=beta, epsilon=epsilon)
            return Objective(loss=loss, units=partial(chosen_and_rejected, ties=ties), rows_per_unit=2)
        case "KTO":
            weights = method.kto or KTOSpec()
            loss = partial(
                kto_loss, beta=beta, passed_weight=weights.passed_weight, failed_weight=weights.failed_weight
            )
            return Objective(loss=loss, shift="mismatched")
        case "NPO":
            return Objective(loss=partial(npo_loss, beta=beta), units=failing)
        case "BCO":
            return Objective(loss=partial(bco_loss, beta=beta), shift="mean reward")
        case "IPO":
            return Objective(loss=partial(ipo_loss, beta=beta), units=passing, reads_source=True)
        case "RAFT":
            return Objective(loss=sft_loss, units=passing, anchored=False)
        case "SFT":
            return Objective(loss=sft_loss, units=all_for_good, anchored=False)


def passing(rows: Iterable[ScoredRow]) -> list[Unit]:
    """The rows that passed."""
    return singly(row for row in rows if row.weight != 0)


def failing(rows: Iterable[ScoredRow]) -> list[Unit]:
    """The rows that failed."""
    return singly(row for row in rows if row.weight != 1)


def all_for_good(rows: Iterable[ScoredRow]) -> list[Unit]:
    """Every row, whatever its verdict."""
    return singly(replace(row, weight=1.0) for row in rows)


def chosen_and_rejected(rows: Iterable[ScoredRow], *, ties: Ties) -> list[Unit]:
    """Pairs within each source, chosen first: its first passed row with its first failed one, and so on.

    Args:
        rows: in the order in which they were drawn.
        ties: what becomes of the rows of a source that are left, which all have one verdict. `skip` leaves them out.
            `firstWins` pairs them as they come and takes the first of two for chosen, as implementations do that compare
            scores with `>=`.
    """
    units: list[Unit] = []
    for group in by_source(rows):
        passed = [row for row in group if row.weight != 0]
        failed = [row for row in group if row.weight == 0]
        pairs = list(zip(passed, failed, strict=False))
        left = passed[len(pairs) :] or failed[len(pairs) :]
        if ties == "firstWins":
            pairs += zip(left[0::2], left[1::2], strict=False)
        # Only a chosen row that passed is anchored.
        units += [(chosen, replace(rejected, weight=0.0)) for chosen, rejected in pairs]
    return units


def failed_scale(method: MethodSpec, *, passing: float, failing: float) -> float:
    """Factor of the failed side of a step's rows, in [0, 1].

    Args:
        method: whose `sro.failedWeightCap` bounds the failed rows' weight by a multiple of the passed rows'.
        passing: weight of the passed side, over all ranks.
        failing: the same of the failed side.
    """
    cap = method.sro.failed_weight_cap if method.sro else None
    if cap is None or failing <= 0:
        return 1.0
    # As if at least one row had passed: a run in which nothing passes yet must be able to begin.
    return min(1.0, cap * max(1.0, passing) / failing)
