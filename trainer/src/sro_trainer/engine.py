"""DeepSpeed: its configuration from the spec, and an engine round the leader."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import deepspeed
import torch

from sro_api.base import Manifest
from sro_api.deepspeed import DeepSpeedSpec
from sro_trainer.errors import ConfigurationError, first_line
from sro_trainer.leader import Leader

Schedule = Literal["constant", "linear", "cosine"]
Engine = Any
"""A DeepSpeedEngine, which publishes no types."""

_DECIDED = {
    "train_batch_size": "optimization.batchSize",
    "train_micro_batch_size_per_gpu": "optimization.batchSize and compute",
    "gradient_accumulation_steps": "optimization.gradientAccumulationSteps",
    "gradient_clipping": "optimization.maxGradNorm",
    "optimizer": "optimization",
    "scheduler": "optimization.schedule",
    "bf16": "leader.dtype",
    "fp16": "leader.dtype",
    "zero_force_ds_cpu_optimizer": "deepspeed.offloadOptimizer",
    "zero_optimization.stage": "deepspeed.zeroStage",
    "zero_optimization.offload_optimizer": "deepspeed.offloadOptimizer",
    "zero_optimization.offload_param": "deepspeed.offloadParameters",
}
"""Keys of a DeepSpeed configuration that a field of the spec decides."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How the weights move over one stage of a run."""

    steps: int
    learning_rate: float
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    parts: int = 1
    """Backward passes per optimiser step."""

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at a step, which counts from 0."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        course = max(1, self.steps - self.warmup_steps)
        done = min(1.0, (step - self.warmup_steps) / course)
        match self.schedule:
            case "constant":
                return 1.0
            case "linear":
                return 1.0 - done
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * done))


def deepspeed_configuration(spec: DeepSpeedSpec, course: Course, *, world_size: int, bfloat16: bool) -> Manifest:
    """What `deepspeed.initialize` reads.

    Args:
        spec: ZeRO stage, offload, and free keys to merge.
        course: of the stage of the run.
        world_size: processes.
        bfloat16: train bfloat16 weights with float32 masters. Not for adapters, which are float32 themselves.

    Raises:
        ConfigurationError: a free key contradicts a field of the spec.
    """
    _refuse_contradictions(spec.config or {})
    decided: Manifest = {
        # Bookkeeping only: the loss is normalised by the rows that there are.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": course.parts,
        "train_batch_size": course.parts * world_size,
        "gradient_clipping": course.max_grad_norm,
        "optimizer": {
            "type": "AdamW",
            # DeepSpeed's own would compile C++ at the first start.
            "params": {"torch_adam": True, "lr": course.learning_rate, "weight_decay": course.weight_decay},
        },
        "bf16": {"enabled": bfloat16},
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": _zero(spec),
    }
    return _merged({"steps_per_print": 10**9, "wall_clock_breakdown": False}, _merged(spec.config or {}, decided))


def build_engine(leader: Leader, configuration: Manifest, course: Course) -> Engine:
    """A DeepSpeed engine that trains the leader's policy.

    Raises:
        ConfigurationError: DeepSpeed refuses the merged configuration.
    """
    trained = list(leader.trained().values())
    try:
        engine, _, _, _ = deepspeed.initialize(
            model=leader,
            model_parameters=trained,
            config=configuration,
            lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, course.factor),
            dist_init_required=False,
        )
    except (ValueError, AssertionError, deepspeed.DeepSpeedConfigError) as error:
        raise ConfigurationError(f"spec.deepspeed: DeepSpeed refuses it: {first_line(error)}") from error
    return engine


def learning_rate(engine: Engine) -> float:
    """Of the next optimiser step."""
    return float(engine.get_lr()[0])


def release(engine: Engine) -> None:
    """Take DeepSpeed's hooks off and let go of the optimiser's memory."""
    engine.destroy()


def _zero(spec: DeepSpeedSpec) -> Manifest:
    zero: Manifest = {"stage": spec.zero_stage}
    if spec.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu"}
    if spec.offload_parameters:
        zero["offload_param"] = {"device": "cpu"}
    return zero


def _refuse_contradictions(free: Manifest) -> None:
    zero = free.get("zero_optimization") or {}
    given = {*free, *(f"zero_optimization.{key}" for key in zero)}
    for key, field in _DECIDED.items():
        if key in given:
            raise ConfigurationError(f"spec.deepspeed.config.{key}: is decided by spec.{field}")


def _merged(under: Manifest, over: Manifest) -> Manifest:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
