"""The leader: policy and reference behind one forward, so that DeepSpeed manages both as one module."""

from __future__ import annotations

import copy
import inspect
import logging
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
from sro_trainer.adapters import fuse
from sro_trainer.logps import head_logps, per_token_logps
from sro_trainer.packing import Packed, packed_rows
from sro_trainer.tokens import Padded, Task, pad

logger = logging.getLogger(__name__)

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
    packed: Packed
    """Each prompt with all its targets in one sequence, as a causal leader reads them."""
    apart: Padded
    """Each target after a prompt of its own, for causal leaders that cannot keep targets of one sequence apart."""
    predicts: Bool[Tensor, "rows seq"]
    """Positions of `apart` whose next token is one of the target's."""


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
    apart = pad([[*prompts[at], *target] for at, target in zip(index, targets, strict=True)], filler=filler)
    predicts = torch.zeros_like(apart.mask)
    for row, (at, target) in enumerate(zip(index, targets, strict=True)):
        predicts[row, len(prompts[at]) - 1 : len(prompts[at]) + len(target) - 1] = True
    return Rows(
        prompts=pad(prompts, filler=filler).to(device),
        prompt_index=torch.tensor(index, dtype=torch.long, device=device),
        targets=pad(targets, filler=filler).to(device),
        packed=packed_rows(prompts, index, targets, filler=filler).to(device),
        apart=apart.to(device),
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
        self.is_lean = _may_be_lean(policy, task)
        """Whether prompts are shared and the output head is taken in pieces; see `lean_is_right`."""

    def forward(self, rows: Rows, side: Side = "policy") -> Float[Tensor, "rows seq"]:
        """Log-probability of each target token, float32, nats; 0 on padding."""
        with self.as_side(side) as model, self.precision():
            if self.is_lean:
                hidden = (self._seq2seq_hidden if self.task == "seq2seq" else self._causal_hidden)(model, rows)
                return _headed(model.get_output_embeddings(), hidden, rows.targets)
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

    def _causal_hidden(self, model: Any, rows: Rows) -> Float[Tensor, "tokens width"]:
        packed = rows.packed
        visible = packed.visible()
        if model.config._attn_implementation == "eager":
            lowest = torch.finfo(model.dtype).min
            visible = torch.zeros(visible.shape, dtype=model.dtype, device=visible.device).masked_fill(~visible, lowest)
        hidden: Tensor = model.base_model(
            input_ids=packed.ids, attention_mask=visible, position_ids=packed.positions, use_cache=False
        ).last_hidden_state
        return hidden.flatten(0, 1)[packed.predictors]

    def _seq2seq_hidden(self, model: Any, rows: Rows) -> Float[Tensor, "tokens width"]:
        encoded, mask = self._encoded(model, rows)
        states: Tensor = model.get_decoder()(
            input_ids=self._decoder_ids(model, rows), encoder_hidden_states=encoded, encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state  # fmt: skip
        hidden = states[rows.targets.mask]
        # T5 with a tied head.
        return hidden * model.model_dim**-0.5 if getattr(model.config, "scale_decoder_outputs", False) else hidden

    def _causal_logits(self, model: Any, rows: Rows) -> Float[Tensor, "tokens vocab"]:
        options: dict[str, Any] = {"logits_to_keep": rows.predicts} if self._selects_logits else {}
        if self._takes_positions:
            options["position_ids"] = (rows.apart.mask.long().cumsum(-1) - 1).clamp(min=0)
        logits: Tensor = model(
            input_ids=rows.apart.ids, attention_mask=rows.apart.mask.long(), use_cache=False, **options
        ).logits
        return logits if self._selects_logits else logits[rows.predicts]

    def _seq2seq_logits(self, model: Any, rows: Rows) -> Float[Tensor, "tokens vocab"]:
        encoded, mask = self._encoded(model, rows)
        logits: Tensor = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded), attention_mask=mask,
            decoder_input_ids=self._decoder_ids(model, rows), use_cache=False,
        ).logits  # fmt: skip
        return logits[rows.targets.mask]

    def _encoded(self, model: Any, rows: Rows) -> tuple[Float[Tensor, "rows prompt width"], Int[Tensor, "rows prompt"]]:
        mask = rows.prompts.mask.long()
        encoded: Tensor = model.get_encoder()(input_ids=rows.prompts.ids, attention_mask=mask).last_hidden_state
        return encoded[rows.prompt_index], mask[rows.prompt_index]

    def _decoder_ids(self, model: Any, rows: Rows) -> Int[Tensor, "rows seq"]:
        start = torch.full_like(rows.targets.ids[:, :1], model.config.decoder_start_token_id)
        return torch.cat([start, rows.targets.ids[:, :-1]], dim=1)


def _may_be_lean(model: Any, task: Task) -> bool:
    config = model.config.get_text_config(decoder=True)
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or getattr(config, "final_logit_softcapping", None):
        return False
    if task == "seq2seq":
        return True
    takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
    return takes_positions and model.config._attn_implementation in ("sdpa", "eager")


def _headed(head: nn.Linear, hidden: Float[Tensor, "tokens width"], targets: Padded) -> Float[Tensor, "rows seq"]:
    if hasattr(head.weight, "ds_id"):
        # ZeRO-3 gathers the head's weights when the module is called, and only then.
        return per_token_logps(head(hidden), targets.ids, targets.mask)
    return head_logps(hidden, head.weight, head.bias, targets.ids, targets.mask)


def lean_is_right(leader: Leader, *, tolerance: float) -> bool:
    """Whether the lean path gives this model's own log-probabilities, and no target of a sequence sees another.

    Asked of the model itself, with a few tokens: which families scale their logits, attend in windows or keep a recurrent
    state is nowhere written down in one place. Changing one target must leave the others as they were to the last bit.
    """
    ids = [int(token) for token in torch.arange(3, 15) % leader.policy.config.get_text_config(decoder=True).vocab_size]
    one, other, third = ids[3:7], ids[7:9], ids[9:12]

    def logps(*targets: list[int], lean: bool = True) -> Tensor:
        rows = build_rows([ids[:3]], [0] * len(targets), targets, filler=0, device=leader.policy.device)
        leader.is_lean = lean
        try:
            return leader(rows)
        finally:
            leader.is_lean = True

    with torch.no_grad():
        together, apart = logps(one, other), logps(one, other, lean=False)
        swapped = logps(third, one)[1]
        changed = logps(third[::-1], one)[1]
    return torch.equal(swapped, changed) and bool((together - apart).abs().max() <= tolerance)


def build_leader(
    model: PreTrainedModel,
    task: Task,
    adapter: AdapterSpec,
    *,
    seed: int,
    snapshot: Snapshot | None,
    renews_reference: bool = False,
) -> Leader:
    """A leader whose policy starts where its reference stands.

    Args:
        model: freshly loaded weights, which the policy takes over.
        task: kind of the model.
        adapter: which weights learn.
        seed: of the adapters' initial values, the same on all ranks.
        snapshot: weights left by the warm start, for policy and reference alike; None starts from the model as it is.
        renews_reference: whether the reference will take over the policy's weights, and so needs an adapter of its own.
    """
    leader = (
        _full_leader(model, task, snapshot)
        if adapter.type == "Full"
        else _adapted_leader(model, task, adapter, seed=seed, snapshot=snapshot, renews_reference=renews_reference)
    )
    if leader.is_lean and not lean_is_right(leader, tolerance=1e-3 if model.dtype == torch.float32 else 0.1):
        logger.info("log-probabilities by the model's own head", extra={"model": type(model).__name__})
        leader.is_lean = False
    return leader


def _adapted_leader(
    model: PreTrainedModel,
    task: Task,
    adapter: AdapterSpec,
    *,
    seed: int,
    snapshot: Snapshot | None,
    renews_reference: bool,
) -> Leader:
    configuration = lora_configuration(adapter.effective_lora, task)
    torch.manual_seed(seed)
    get_peft_model(model, configuration, adapter_name=POLICY_ADAPTER, autocast_adapter_dtype=True)
    if snapshot is None and renews_reference:
        # As the policy's adapter begins: it changes nothing yet.
        snapshot = {name: value.detach().clone() for name, value in model.named_parameters() if "lora_" in name}
    if snapshot is not None:
        inject_adapter_in_model(configuration, model, adapter_name=REFERENCE_ADAPTER)
        _restore(model, snapshot)
        _restore(model, {reference_name(name): value for name, value in snapshot.items()})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{POLICY_ADAPTER}." in name and "lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
    leader = Leader(model, None, task)
    for layer in leader.adapters:
        layer.cast_input_dtype_enabled = not leader.mixed
        fuse(layer)
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


def reference_name(name: str) -> str:
    """The reference adapter's name of one of the policy's weights."""
    return name.replace(f".{POLICY_ADAPTER}.", f".{REFERENCE_ADAPTER}.")
