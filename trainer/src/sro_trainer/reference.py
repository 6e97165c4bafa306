"""The reference's weights: put anew from the policy's, and taken out for a checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import deepspeed
import torch
from torch import nn

from sro_trainer.leader import Leader, Snapshot, reference_name


def renew_reference(leader: Leader) -> None:
    """Put the policy's present weights in the reference's place. Every rank must call it: ZeRO-3 gathers them."""
    with torch.no_grad():
        for _, policy, reference in _pairs(leader):
            with _gathered([policy, reference]):
                reference.copy_(policy)


def reference_weights(leader: Leader) -> Snapshot:
    """The reference's weights under the policy's names, on the host. Every rank must call it."""
    weights: Snapshot = {}
    for name, _, reference in _pairs(leader):
        with _gathered([reference]):
            weights[name] = reference.detach().cpu().clone()
    return weights


def _pairs(leader: Leader) -> list[tuple[str, nn.Parameter, nn.Parameter]]:
    """Each trained weight with the reference's counterpart."""
    if leader.reference is not None:
        others = dict(leader.reference.named_parameters())
        return [(name, policy, others[name]) for name, policy in leader.trained().items()]
    everything = dict(leader.policy.named_parameters())
    return [(name, policy, everything[reference_name(name)]) for name, policy in leader.trained().items()]


def _gathered(parameters: list[nn.Parameter]) -> AbstractContextManager[None]:
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        return nullcontext()
    gathered: AbstractContextManager[None] = deepspeed.zero.GatheredParameters(parameters, modifier_rank=0)
    return gathered
