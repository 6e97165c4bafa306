"""What has been learnt, in files that do not depend on how many processes learnt it: weights, moments, steps, schedule.

DeepSpeed keeps float32 masters and moments in pieces that follow the number of processes and the ZeRO stage. Here each trained
parameter is put together, written under its own name, and cut anew by whoever reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)
from safetensors import safe_open
from torch import Tensor, nn

from sro_trainer.checkpoint import save_tensors
from sro_trainer.distributed import World
from sro_trainer.leader import Leader

MOMENTS = ("exp_avg", "exp_avg_sq")
SHARD_ELEMENTS = 1 << 26
"""Elements of the parameters of one file: with both moments 768 MiB, which is what a process holds at a time."""
_CLOCK = "clock.json"


def write_trained_state(folder: Path, engine: Any, leader: Leader, world: World) -> None:
    """Write this rank's share of the files; every rank must call it.

    Args:
        folder: exists, and is the same for all ranks.
        engine: round the leader, between two steps.
        leader: whose policy is trained.
        world: the ranks, each of which writes every n-th file.

    Raises:
        OSError: a file of this rank could not be written. It still took its part in putting the others together, since they
            would wait for it.
    """
    failure: OSError | None = None
    trained = leader.trained()
    for number, names in enumerate(_shards(trained)):
        tensors: dict[str, Tensor] = {}
        for name in names:
            parts = _gathered(engine, trained[name])
            if number % world.size == world.rank:
                tensors |= {f"{name}#{key}": part for key, part in parts.items()}
        if tensors and failure is None:
            try:
                save_tensors(tensors, folder / f"trained-{number:05d}.safetensors")
            except OSError as error:
                failure = error
    if failure is not None:
        raise failure
    if world.is_main:
        clock = {"steps": _steps(engine), "schedule": engine.lr_scheduler.state_dict()}
        # The factor by step is a function, which the run's specification says.
        clock["schedule"] = {key: value for key, value in clock["schedule"].items() if key != "lr_lambdas"}
        (folder / _CLOCK).write_text(json.dumps(clock), encoding="utf-8")


def read_trained_state(folder: Path, engine: Any, leader: Leader) -> None:
    """Put back what was written, by any number of processes, into an engine that has not stepped yet.

    Raises:
        KeyError: a parameter is not in the files.
    """
    clock = json.loads((folder / _CLOCK).read_text(encoding="utf-8"))
    _begin_moments(engine, clock["steps"])
    trained = leader.trained()
    for number, names in enumerate(_shards(trained)):
        with safe_open(folder / f"trained-{number:05d}.safetensors", framework="pt") as file:
            known = set(file.keys())
            for name in names:
                parts = {
                    key: file.get_tensor(f"{name}#{key}") for key in ("weight", *MOMENTS) if f"{name}#{key}" in known
                }
                _put_back(engine, trained[name], parts)
    engine.lr_scheduler.load_state_dict({**engine.lr_scheduler.state_dict(), **clock["schedule"]})
    for group, rate in zip(engine.optimizer.param_groups, engine.lr_scheduler.get_last_lr(), strict=True):
        group["lr"] = rate
    engine.global_steps = clock["schedule"]["last_epoch"]


def _shards(trained: dict[str, nn.Parameter]) -> Iterator[list[str]]:
    names: list[str] = []
    elements = 0
    for name, parameter in trained.items():
        size = int(getattr(parameter, "ds_numel", parameter.numel()))
        if names and elements + size > SHARD_ELEMENTS:
            yield names
            names, elements = [], 0
        names.append(name)
        elements += size
    if names:
        yield names


def _gathered(engine: Any, parameter: nn.Parameter) -> dict[str, Tensor]:
    master = _whole_master(engine, parameter)
    if master is not None:
        # Before the first step torch's optimiser has no state.
        state = _torch_optimizer(engine).state.get(master, {})
        parts = {"weight": master, **{key: state[key] for key in MOMENTS if key in state}}
    else:
        _begin_moments(engine, None)
        parts = {"weight": safe_get_full_fp32_param(parameter)}
        parts |= {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return {key: part.detach().float().cpu().reshape(shape).contiguous().clone() for key, part in parts.items()}


def _put_back(engine: Any, parameter: nn.Parameter, parts: dict[str, Tensor]) -> None:
    parts = {key: part.to(engine.device) for key, part in parts.items()}
    moments = {key: part for key, part in parts.items() if key in MOMENTS}
    master = _whole_master(engine, parameter)
    if master is not None:
        master.data.copy_(parts["weight"])
        for key, part in moments.items():
            _torch_optimizer(engine).state[master][key].copy_(part)
    else:
        safe_set_full_fp32_param(parameter, parts["weight"])
        for key, part in moments.items():
            safe_set_full_optimizer_state(parameter, part, key)
    whole = deepspeed.zero.GatheredParameters([parameter], modifier_rank=0) if _is_divided(parameter) else nullcontext()
    with whole, torch.no_grad():
        parameter.data.copy_(parts["weight"])


def _whole_master(engine: Any, parameter: nn.Parameter) -> Tensor | None:
    """The float32 weights that the optimiser moves, where they are in one piece, with ZeRO-0: the parameter itself, or in
    DeepSpeed's bfloat16 mode a tensor beside it. None where every process has a part of them."""
    if _is_divided(parameter) or hasattr(parameter, "_hp_mapping"):
        return None
    narrow, wide = (getattr(engine.optimizer, name, ()) for name in ("fp16_groups", "fp32_groups"))
    for own_group, master_group in zip(narrow, wide, strict=True):
        for own, master in zip(own_group, master_group, strict=True):
            if own is parameter:
                found: Tensor = master
                return found
    return parameter


def _is_divided(parameter: nn.Parameter) -> bool:
    return hasattr(parameter, "ds_id")


def _torch_optimizer(engine: Any) -> Any:
    return getattr(engine.optimizer, "optimizer", engine.optimizer)


def _masters(engine: Any) -> Sequence[Tensor]:
    """What torch's optimiser moves: DeepSpeed's flat pieces, or the parameters themselves."""
    pieces = getattr(engine.optimizer, "fp32_partitioned_groups_flat", None)
    if pieces is not None:
        return list(pieces)
    return [piece for group in _torch_optimizer(engine).param_groups for piece in group["params"]]


def _begin_moments(engine: Any, steps: float | None) -> None:
    """Give torch's optimiser the state that it would make in its first step, and DeepSpeed its views of it."""
    state = _torch_optimizer(engine).state
    for piece in _masters(engine):
        if not state.get(piece):
            state[piece] = {"step": torch.tensor(0.0), **{key: torch.zeros_like(piece) for key in MOMENTS}}
        if steps is not None:
            state[piece]["step"] = torch.full_like(torch.as_tensor(state[piece]["step"]), steps)
    link = getattr(engine.optimizer, "_lazy_init_hp_params_optimizer_state", None)
    if link is not None:
        link()


def _steps(engine: Any) -> float:
    state = _torch_optimizer(engine).state
    return max((float(state[piece]["step"]) for piece in _masters(engine) if state.get(piece)), default=0.0)
