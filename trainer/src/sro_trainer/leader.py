"""The leader: policy and reference behind one forward, so that DeepSpeed manages both as one module."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from sro_api.training import AdapterSpec, LoraSpec
from sro_trainer.logps import per_token_logps
from sro_trainer.tokens import Padded, Task, pad

Side = Literal["policy", "reference"]
POLICY_ADAPTER = "default"
REFERENCE_ADAPTER = "reference"
Snapshot = dict[str, Tensor]
"""Trained weights of a policy by name, as the warm start leaves them."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Texts to score: each a target of one of the prompts."""

    prompts: Padded
    prompt_index: Int[Tensor, " rows"]
    """Which prompt each row belongs to: a paraphrase and its source share one, and its encoding."""
    targets: Padded
    """The end of sequence is part of a target, the start token is not."""
    packed: Padded
    """Prompt and target in one, as a causal leader reads them."""
    predicts: Bool[Tensor, "rows seq"]
    """Positions of `packed` whose next token is one of the target's."""


def build_rows(
    prompts: Sequence[Sequence[int]],
    index: Sequence[int],
    targets: Sequence[Sequence[int]],
    *,
    filler: int,
    device: torch.device,
) -> Rows:
    """Rows to score, padded right and as tight as they can be.

    Args:
        prompts: ids of each prompt, at least one token each.
        index: the prompt of each target.
        targets: ids of each target.
        filler: any valid id, put where the mask is False.
        device: where the leader lies.
    """
    packed = pad([[*prompts[at], *target] for at, target in zip(index, targets, strict=True)], filler=filler)
    predicts = torch.zeros_like(packed.mask)
    for row, (at, target) in enumerate(zip(index, targets, strict=True)):
        predicts[row, len(prompts[at]) - 1 : len(prompts[at]) + len(target) - 1] = True
    return Rows(
        prompts=pad(prompts, filler=filler).to(device),
        prompt_index=torch.tensor(index, dtype=torch.long, device=device),
        targets=pad(targets, filler=filler).to(device),
        packed=packed.to(device),
        predicts=predicts.to(device),
    )


class Leader(nn.Module):
    """Scores texts under the policy or under the reference, by one path for both."""

    def __init__(self, policy: PreTrainedModel, reference: PreTrainedModel | None, task: Task) -> None:
        super().__init__()
        self.policy = policy
        self.reference = reference
        self.task = task
        self.adapters = [module for module in policy.modules() if isinstance(module, BaseTunerLayer)]
        base_dtype = next(p.dtype for p in policy.parameters() if not p.requires_grad or not self.adapters)
        self.mixed = bool(self.adapters) and base_dtype == torch.bfloat16
        accepted = inspect.signature(policy.forward).parameters
        # transformers' own helper computes logits at masked positions alone; a family without it computes all of them.
        self._selects_logits = "logits_to_keep" in accepted and hasattr(
            sys.modules[type(policy).__module__], "slice_logits_to_keep"
        )
        self._takes_positions = "position_ids" in accepted

    def forward(self, rows: Rows, side: Side = "policy") -> Float[Tensor, "rows seq"]:
        """Log-probability of each target token, float32, nats; 0 on padding."""
        with self.as_side(side) as model, self.precision():
            logits = self._seq2seq_logits(model, rows) if self.task == "seq2seq" else self._causal_logits(model, rows)
        return per_token_logps(logits, rows.targets.ids, rows.targets.mask)

    @contextmanager
    def as_side(self, side: Side) -> Iterator[Any]:
        """The model that answers for one side; with LoRA, the same weights under another adapter.

        Which parameters need a gradient is left alone, unlike in peft's own switch: DeepSpeed has hooks on them.
        """
        if side == "policy" or not self.adapters:
            yield self.policy if side == "policy" else self.reference
            return
        reference = [REFERENCE_ADAPTER] if REFERENCE_ADAPTER in self.adapters[0].lora_A else []
        self._activate(reference)
        try:
            yield self.policy
        finally:
            self._activate([POLICY_ADAPTER])

    def precision(self) -> AbstractContextManager[None]:
        """Adapters stay in float32 and are multiplied in bfloat16, as the frozen weights beside them."""
        if not self.mixed:
            return nullcontext()
        return torch.autocast(self.policy.device.type, dtype=torch.bfloat16)

    def trained(self) -> dict[str, nn.Parameter]:
        """The weights that learn, by their name within the policy."""
        return {name: parameter for name, parameter in self.policy.named_parameters() if parameter.requires_grad}

    def _activate(self, names: list[str]) -> None:
        for layer in self.adapters:
            layer._active_adapter = names

    def _causal_logits(self, model: Any, rows: Rows) -> Float[Tensor, "tokens vocab"]:
        packed = rows.packed
        options: dict[str, Any] = {"logits_to_keep": rows.predicts} if self._selects_logits else {}
        if self._takes_positions:
            options["position_ids"] = (packed.mask.long().cumsum(-1) - 1).clamp(min=0)
        logits: Tensor = model(
            input_ids=packed.ids, attention_mask=packed.mask.long(), use_cache=False, **options
        ).logits
        return logits if self._selects_logits else logits[rows.predicts]

    def _seq2seq_logits(self, model: Any, rows: Rows) -> Float[Tensor, "tokens vocab"]:
        encoded = model.get_encoder()(input_ids=rows.prompts.ids, attention_mask=rows.prompts.mask.long())
        shared = BaseModelOutput(last_hidden_state=encoded.last_hidden_state[rows.prompt_index])
        start = torch.full_like(rows.targets.ids[:, :1], model.config.decoder_start_token_id)
        logits: Tensor = model(
            encoder_outputs=shared,
            attention_mask=rows.prompts.mask[rows.prompt_index].long(),
            decoder_input_ids=torch.cat([start, rows.targets.ids[:, :-1]], dim=1),
            use_cache=False,
        ).logits
        return logits[rows.targets.mask]


def build_leader(
    model: PreTrainedModel, task: Task, adapter: AdapterSpec, *, seed: int, snapshot: Snapshot | None
) -> Leader:
    """A leader whose policy starts where its reference stands.

    Args:
        model: freshly loaded weights, which the policy takes over.
        task: kind of the model.
        adapter: which weights learn.
        seed: of the adapters' initial values, the same on all ranks.
        snapshot: weights left by the warm start, for policy and reference alike; None starts from the model as it is.
    """
    if adapter.type == "Full":
        return _full_leader(model, task, snapshot)
    configuration = lora_configuration(adapter.effective_lora, task)
    torch.manual_seed(seed)
    get_peft_model(model, configuration, adapter_name=POLICY_ADAPTER, autocast_adapter_dtype=True)
    if snapshot is not None:
        inject_adapter_in_model(configuration, model, adapter_name=REFERENCE_ADAPTER)
        _restore(model, snapshot)
        _restore(model, {_as_reference(name): value for name, value in snapshot.items()})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{POLICY_ADAPTER}." in name and "lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
    leader = Leader(model, None, task)
    for layer in leader.adapters:
        layer.cast_input_dtype_enabled = not leader.mixed
    leader._activate([POLICY_ADAPTER])
    return leader


def lora_configuration(spec: LoraSpec, task: Task) -> LoraConfig:
    """The spec's adapter in peft's words."""
    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules="all-linear" if spec.target_modules == ("all-linear",) else list(spec.target_modules),
        task_type="SEQ_2_SEQ_LM" if task == "seq2seq" else "CAUSAL_LM",
    )


def _full_leader(model: PreTrainedModel, task: Task, snapshot: Snapshot | None) -> Leader:
    if snapshot is not None:
        _restore(model, snapshot)
    # A copy of the whole module: casting a new one would round buffers, as rotary frequencies, that are float32 here.
    reference = copy.deepcopy(model).requires_grad_(False).eval()
    model.requires_grad_(True)
    return Leader(model, reference, task)


def _restore(model: nn.Module, values: Snapshot) -> None:
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)


def _as_reference(name: str) -> str:
    return name.replace(f".{POLICY_ADAPTER}.", f".{REFERENCE_ADAPTER}.")
