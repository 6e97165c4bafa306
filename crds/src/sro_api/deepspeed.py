"""`spec.deepspeed`: how the training state is shared, and what of DeepSpeed's own configuration may be written."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sro_api.base import ApiModel, Manifest, rule

_RESERVED = {
    "train_batch_size": ("integer", "optimization.batchSize"),
    "train_micro_batch_size_per_gpu": ("integer", "optimization.batchSize and compute"),
    "gradient_accumulation_steps": ("integer", "optimization.gradientAccumulationSteps"),
    "gradient_clipping": ("number", "optimization.maxGradNorm"),
    "optimizer": ("object", "optimization"),
    "scheduler": ("object", "optimization.schedule"),
    "bf16": ("object", "leader.dtype"),
    "fp16": ("object", "leader.dtype"),
    "zero_force_ds_cpu_optimizer": ("boolean", "deepspeed.offloadOptimizer"),
}
"""Keys of a DeepSpeed configuration that a field of the spec decides: key -> (type, field)."""
_RESERVED_ZERO = {
    "stage": ("integer", "deepspeed.zeroStage"),
    "offload_optimizer": ("object", "deepspeed.offloadOptimizer"),
    "offload_param": ("object", "deepspeed.offloadParameters"),
}


def _reserved_properties(table: dict[str, tuple[str, str]]) -> Manifest:
    def typed(kind: str) -> Manifest:
        return {"type": kind, **({"x-kubernetes-preserve-unknown-fields": True} if kind == "object" else {})}

    return {key: typed(kind) for key, (kind, _) in table.items()}


def _config_schema() -> Manifest:
    """Free but for the reserved keys, which are declared so that CEL can see and refuse them."""
    zero = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": _reserved_properties(_RESERVED_ZERO),
    }
    rules = [
        {"rule": f"!has(self.{key})", "message": f"is decided by spec.{field}", "fieldPath": f".{key}", "reason": "FieldValueForbidden"}
        for key, (_, field) in _RESERVED.items()
    ] + [
        {"rule": f"!has(self.zero_optimization) || !has(self.zero_optimization.{key})", "message": f"is decided by spec.{field}",
         "fieldPath": f".zero_optimization.{key}", "reason": "FieldValueForbidden"}
        for key, (_, field) in _RESERVED_ZERO.items()
    ]  # fmt: skip
    return {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {**_reserved_properties(_RESERVED), "zero_optimization": zero},
        "x-kubernetes-validations": rules,
    }


@rule("!self.offloadParameters || self.zeroStage == 3", "needs zeroStage 3", at=".offloadParameters")
@rule("!self.offloadOptimizer || self.zeroStage >= 1", "needs zeroStage 1 or more", at=".offloadOptimizer")
class DeepSpeedSpec(ApiModel):
    """How DeepSpeed shares the training state among processes."""

    zero_stage: Annotated[int, Field(ge=0, le=3)] = 2
    """ZeRO: 0 shares nothing, 1 optimiser states, 2 gradients too, 3 weights too."""
    offload_optimizer: bool = False
    """Keep optimiser states in host memory."""
    offload_parameters: bool = False
    """Keep weights in host memory; ZeRO-3 only."""
    config: Annotated[Manifest, Field(json_schema_extra=_config_schema())] | None = None
    """Merged into the DeepSpeed configuration; keys that a field of this spec decides are refused."""
