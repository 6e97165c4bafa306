"""DeepSpeed's configuration: what the spec decides, what may be added, what is refused."""

from __future__ import annotations

import pytest

from sro_api.deepspeed import DeepSpeedSpec
from sro_trainer.engine import Course, deepspeed_configuration
from sro_trainer.errors import ConfigurationError


def configuration_of(spec: dict[str, object], *, bfloat16: bool = False) -> dict[str, object]:
    course = Course(steps=10, learning_rate=1e-3, parts=3, max_grad_norm=0.5)
    return deepspeed_configuration(DeepSpeedSpec.model_validate(spec), course, world_size=2, bfloat16=bfloat16)


def test_the_spec_decides_stage_offload_clipping_and_batches() -> None:
    made = configuration_of({"zeroStage": 3, "offloadOptimizer": True, "offloadParameters": True}, bfloat16=True)
    assert made["zero_optimization"] == {
        "stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"},
    }  # fmt: skip
    assert made["train_batch_size"] == 6
    assert made["gradient_clipping"] == 0.5
    assert made["bf16"] == {"enabled": True}


def test_free_keys_are_merged_in_at_every_depth() -> None:
    made = configuration_of(
        {"zeroStage": 2, "config": {"zero_optimization": {"overlap_comm": False}, "steps_per_print": 7}}
    )
    assert made["zero_optimization"] == {"stage": 2, "overlap_comm": False}
    assert made["steps_per_print"] == 7


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"train_batch_size": 3}, "optimization.batchSize"),
        ({"fp16": {"enabled": True}}, "leader.dtype"),
        ({"optimizer": {"type": "SGD"}}, "optimization"),
        ({"zero_optimization": {"stage": 1}}, "deepspeed.zeroStage"),
        ({"zero_optimization": {"offload_param": {"device": "nvme"}}}, "deepspeed.offloadParameters"),
    ],
    ids=["batch", "fp16", "optimizer", "stage", "offload"],
)
def test_a_key_that_a_field_decides_is_refused_by_name(config: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"spec.deepspeed.config\..*: is decided by spec.{field}$"):
        configuration_of({"config": config})


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.5, 1.0, 1.0, 1.0]), ("linear", [0.5, 1.0, 1.0, 0.5]), ("cosine", [0.5, 1.0, 1.0, 0.5])],
)
def test_the_learning_rate_rises_and_then_follows_the_schedule(schedule: str, expected: list[float]) -> None:
    course = Course(steps=6, learning_rate=1.0, schedule=schedule, warmup_steps=2)  # type: ignore[arg-type]
    assert [course.factor(step) for step in (0, 1, 2, 4)] == pytest.approx(expected)


def test_a_schedule_ends_at_zero() -> None:
    assert Course(steps=5, learning_rate=1.0, schedule="linear").factor(5) == 0.0
    assert Course(steps=5, learning_rate=1.0, schedule="cosine").factor(5) == pytest.approx(0.0)
