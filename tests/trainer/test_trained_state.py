"""What was learnt, written in one piece: an engine that reads it goes on to the last bit, under every ZeRO stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sro_api.deepspeed import DeepSpeedSpec
from sro_api.training import AdapterSpec
from sro_trainer import trained_state
from sro_trainer.distributed import World
from sro_trainer.engine import Course, build_engine, deepspeed_configuration, learning_rate
from sro_trainer.leader import Leader, build_leader, build_rows
from sro_trainer.testing import tiny_leader
from sro_trainer.trained_state import read_trained_state, write_trained_state

ROWS = build_rows(
    [[5, 6, 7], [8, 9]], [0, 1, 0], [[10, 11, 12], [13, 14], [15, 16]], filler=0, device=torch.device("cpu")
)


def engine_of(stage: int, adapter: str, dtype: torch.dtype) -> tuple[Leader, Any]:
    model = tiny_leader("llama").model.to(dtype)
    leader = build_leader(model, "causal", AdapterSpec(type=adapter), seed=0, snapshot=None)
    course = Course(steps=10, learning_rate=1e-2, schedule="linear", weight_decay=0.01)
    spec = DeepSpeedSpec(zero_stage=stage)
    bfloat16 = adapter == "Full" and dtype == torch.bfloat16
    return leader, build_engine(leader, deepspeed_configuration(spec, course, world_size=1, bfloat16=bfloat16), course)


def losses(engine: Any, steps: int) -> list[float]:
    values = []
    for _ in range(steps):
        loss = -engine(ROWS, "policy").sum()
        engine.backward(loss, scale_wrt_gas=False)
        engine.step()
        values.append(float(loss.detach()))
    return values


@pytest.mark.parametrize(
    ("stage", "adapter", "dtype"),
    [
        (0, "LoRA", torch.float32), (2, "LoRA", torch.bfloat16), (3, "LoRA", torch.float32),
        (0, "Full", torch.bfloat16), (1, "Full", torch.bfloat16), (2, "Full", torch.float32), (3, "Full", torch.bfloat16),
    ],
    ids=str,
)  # fmt: skip
def test_a_new_engine_goes_on_to_the_last_bit(
    stage: int, adapter: str, dtype: torch.dtype, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small enough that there are several files.
    monkeypatch.setattr(trained_state, "SHARD_ELEMENTS", 4000)
    leader, engine = engine_of(stage, adapter, dtype)
    losses(engine, 2)
    write_trained_state(tmp_path, engine, leader, world)
    expected, rate = losses(engine, 3), learning_rate(engine)
    engine.destroy()
    assert len(list(tmp_path.glob("trained-*.safetensors"))) > 1
    leader, engine = engine_of(stage, adapter, dtype)
    read_trained_state(tmp_path, engine, leader)
    assert losses(engine, 3) == expected
    assert learning_rate(engine) == rate
    engine.destroy()


def test_another_stage_reads_what_one_stage_wrote(tmp_path: Path, world: World) -> None:
    leader, engine = engine_of(2, "LoRA", torch.float32)
    losses(engine, 2)
    write_trained_state(tmp_path, engine, leader, world)
    expected = losses(engine, 2)
    leader, engine = engine_of(0, "LoRA", torch.float32)
    read_trained_state(tmp_path, engine, leader)
    assert losses(engine, 2) == pytest.approx(expected, rel=1e-6)


def test_another_adapters_files_are_refused(tmp_path: Path, world: World) -> None:
    leader, engine = engine_of(0, "LoRA", torch.float32)
    losses(engine, 1)
    write_trained_state(tmp_path, engine, leader, world)
    other, full = engine_of(0, "Full", torch.float32)
    with pytest.raises(KeyError):
        read_trained_state(tmp_path, full, other)
