"""A linear layer with a low-rank adapter as one step: what peft computes in six, without the copies between them."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn


class _AdaptedLinear(torch.autograd.Function):
    """x W' + b + scale (x A') B', for a frozen W; keeps x and x A' for its backward and nothing as wide as the output."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ down.T
        result = F.linear(flat, weight, bias).addmm_(low, up.T, alpha=scale)
        context.save_for_backward(flat, low, weight, down, up)
        context.scale = scale
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, low, weight, down, up = context.saved_tensors
        upstream = gradients[0].reshape(-1, gradients[0].shape[-1])
        narrow = (upstream @ up).mul_(context.scale)
        own = None
        if context.needs_input_grad[0]:
            own = (upstream @ weight).addmm_(narrow, down).view(*gradients[0].shape[:-1], -1)
        return own, None, None, narrow.T @ flat, (upstream.T @ low).mul_(context.scale), None


def fuse(layer: nn.Module) -> None:
    """Let a peft layer compute in one step where that is the same: a linear layer of the adapter's type, no dropout.

    Everything else (autocast, ZeRO-3's partitions, other kinds of layers) stays with peft, call by call.
    """
    if not isinstance(layer, LoraLinear) or type(layer.base_layer) is not nn.Linear:
        return
    by_peft = type(layer).forward

    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        active = self.active_adapters
        if not args and not kwargs and len(active) == 1 and _is_plain(self, active[0], x):
            base, scale = self.base_layer, self.scaling[active[0]]
            down, up = self.lora_A[active[0]].weight, self.lora_B[active[0]].weight
            result: Tensor = _AdaptedLinear.apply(x, base.weight, base.bias, down, up, scale)
            return result
        unfused: Tensor = by_peft(self, x, *args, **kwargs)
        return unfused

    layer.forward = MethodType(forward, layer)


def _is_plain(layer: Any, adapter: str, x: Tensor) -> bool:
    weight, down = layer.base_layer.weight, layer.lora_A[adapter].weight
    return (
        x.dtype == weight.dtype == down.dtype
        and not torch.is_autocast_enabled(x.device.type)
        and not hasattr(weight, "ds_id")
        and not hasattr(down, "ds_id")
        and not weight.requires_grad
        and adapter not in layer.lora_variant
        and not layer.merged
        and isinstance(layer.lora_dropout[adapter], nn.Identity)
    )
