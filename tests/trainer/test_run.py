"""Whole runs of a tiny leader: from the configuration to a model that plain transformers loads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from sro_api.exit_codes import ExitCode
from sro_api.run_config import RunConfig
from sro_api.status import ProgressStatus
from sro_trainer.distributed import World
from sro_trainer.errors import ConfigurationError, DataError, Terminated
from sro_trainer.session import Finished, run
from sro_trainer.termination import StopRequest
from sro_trainer.testing import RecordingReporter, tiny_job

TIMES = ("samples_per_second", "seconds")


class PowerCutError(Exception):
    """Ends a run at once, as nothing in it expects."""


def train(
    config: RunConfig, world: World, then: Callable[[ProgressStatus], None] | None = None
) -> tuple[Finished, RecordingReporter]:
    reporter = RecordingReporter(then)
    return run(config, world, StopRequest(), reporter), reporter


def metrics(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(folder / "out" / "model" / "model.safetensors")
    return loaded


def cut_at(stage: str, step: int) -> Callable[[ProgressStatus], None]:
    """Cuts the power when a step is reported done."""

    def then(progress: ProgressStatus) -> None:
        done = progress.warm_start_step if stage == "WarmStart" else progress.step
        if progress.stage == stage and done == step:
            raise PowerCutError

    return then


def spawn(config: RunConfig, folder: Path) -> subprocess.Popen[bytes]:
    """The trainer as a pod starts it."""
    file = folder / "run.json"
    file.write_text(config.dump())
    environment = {
        **os.environ,
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "SRO_TERMINATION_LOG": str(folder / "last-word"),
    }
    # Left by DeepSpeed and by this process's own world.
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sro_trainer", "--config", str(file)], env=environment, stdout=log, stderr=log
        )


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_a_run_leaves_a_model_that_plain_transformers_loads(kind: str, tmp_path: Path, world: World) -> None:
    finished, reporter = train(tiny_job(tmp_path, kind=kind), world)
    folder = tmp_path / "out" / "model"
    assert finished.output.model == str(folder)
    factory = AutoModelForCausalLM if kind == "llama" else AutoModelForSeq2SeqLM
    model, tokenizer = factory.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompt = "Toxic: you are stupid\nPolite:" if kind == "llama" else "paraphrase: you are stupid"
    written = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=5)
    assert written.shape[0] == 1
    assert "{source}" in (folder / "README.md").read_text() or "paraphrase:" in (folder / "README.md").read_text()
    stages = list(dict.fromkeys(progress.stage for progress in reporter.progress))
    assert stages == ["Starting", "Evaluating", "WarmStart", "Training", "Saving", "Done"]
    assert reporter.progress[-1].percent == 100
    assert reporter.progress[-1].last_checkpoint_step == 4


def test_the_saved_model_keeps_the_dropout_that_it_came_with(tmp_path: Path, world: World) -> None:
    train(tiny_job(tmp_path, kind="t5", leader={"warmStart": None}), world)
    assert json.loads((tmp_path / "out" / "model" / "config.json").read_text())["dropout_rate"] == 0.1


def test_an_unmerged_adapter_gives_the_same_model_in_peft(tmp_path: Path, world: World) -> None:
    from peft import PeftModel

    (tmp_path / "merged").mkdir()
    (tmp_path / "apart").mkdir()
    train(tiny_job(tmp_path / "merged"), world)
    train(tiny_job(tmp_path / "apart", leader={"adapter": {"lora": {"mergeOnSave": False}}}), world)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "apart" / "leader")
    adapted = PeftModel.from_pretrained(base, tmp_path / "apart" / "out" / "model")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged" / "out" / "model")
    ids = torch.arange(5, 25).reshape(1, -1)
    torch.testing.assert_close(adapted(ids).logits, merged(ids).logits, atol=1e-4, rtol=1e-4)


def test_before_the_first_step_policy_and_reference_agree(tmp_path: Path, world: World) -> None:
    train(tiny_job(tmp_path), world)
    first = next(row for row in metrics(tmp_path) if row["stage"] == "Training")
    assert abs(first["paraphrase_logratio"]) < 1e-4
    assert abs(first["kl"]) < 1e-6


@pytest.mark.parametrize(
    ("stage", "step"),
    [("WarmStart", 3), ("Training", 1), ("Training", 3)],
    ids=["warm start", "before a checkpoint", "after one"],
)
def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(stage: str, step: int, tmp_path: Path, world: World) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    train(tiny_job(whole), world)
    with pytest.raises(PowerCutError):
        train(tiny_job(cut), world, cut_at(stage, step))
    train(tiny_job(cut), world)
    assert metrics(cut) == metrics(whole)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(cut)[name], value, atol=0, rtol=0)


def test_a_damaged_checkpoint_costs_its_steps_and_no_more(tmp_path: Path, world: World) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    train(tiny_job(whole), world)
    with pytest.raises(PowerCutError):
        train(tiny_job(cut, optimization={"checkpointEverySteps": 1}), world, cut_at("Training", 4))
    newest = cut / "out" / "checkpoints" / "b-training-000000003"
    next(newest.glob("trained-*")).write_bytes(b"noise")
    train(tiny_job(cut, optimization={"checkpointEverySteps": 1}), world)
    assert metrics(cut) == metrics(whole)


def test_without_its_reference_the_game_begins_again_from_the_warm_start(tmp_path: Path, world: World) -> None:
    with pytest.raises(PowerCutError):
        train(tiny_job(tmp_path), world, cut_at("Training", 3))
    (tmp_path / "out" / "checkpoints" / "reference" / "weights.safetensors").write_bytes(b"noise")
    _, reporter = train(tiny_job(tmp_path), world)
    assert any(progress.stage == "WarmStart" for progress in reporter.progress)
    assert [row["step"] for row in metrics(tmp_path)] == [1, 2, 3, 1, 2, 3, 4]


def test_a_stop_is_obeyed_after_a_checkpoint_and_the_run_goes_on(tmp_path: Path, world: World) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    train(tiny_job(whole), world)
    request = StopRequest()

    def then(progress: ProgressStatus) -> None:
        request.requested = progress.stage == "Training" and progress.step == 3

    with pytest.raises(Terminated, match="stopped after step 3 of stage Training"):
        run(tiny_job(stopped), world, request, RecordingReporter(then))
    _, reporter = train(tiny_job(stopped), world)
    assert [progress.step for progress in reporter.progress if progress.stage == "Training"] == [3, 4]
    assert metrics(stopped) == metrics(whole)


def test_another_job_does_not_go_on_from_these_checkpoints(tmp_path: Path, world: World) -> None:
    train(tiny_job(tmp_path), world)
    with pytest.raises(ConfigurationError, match=r"spec.output.checkpoints: .* of another run"):
        train(tiny_job(tmp_path, method={"beta": 0.5}), world)


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path: Path, world: World) -> None:
    train(tiny_job(tmp_path), world)
    train(tiny_job(tmp_path, optimization={"steps": 6}), world)
    assert [row["step"] for row in metrics(tmp_path) if row["stage"] == "Training"] == [1, 2, 3, 4, 5, 6]


def test_the_report_has_figures_baselines_and_differences(tmp_path: Path, world: World) -> None:
    finished, _ = train(tiny_job(tmp_path), world)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert finished.evaluation.untrained is not None
    assert report["evaluation"].keys() == {"untrained", "before", "after"}
    assert report["baselines"]["duplicate"]["copyRate"] == 1.0
    assert "passRate" in report["evaluation"]["after"]
    assert report["differences"].keys() >= {"pass_rate", "copy_rate"}
    assert sorted(path.name for path in (tmp_path / "out" / "evaluations").iterdir()) == [
        "after.jsonl",
        "before-rewrites.json",
        "before.jsonl",
        "delete.jsonl",
        "duplicate.jsonl",
        "mask-infill.jsonl",
        "untrained.jsonl",
    ]
    assert report["baselines"].keys() == {"duplicate", "delete", "mask-infill"}
    assert report["against"].keys() == {"untrained", "before", "duplicate", "delete", "mask-infill"}
    assert report["intervals"]["after"]["pass_rate"]["mean"] == report["evaluation"]["after"]["passRate"]
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")


def test_evaluations_between_are_made_where_the_spec_asks(tmp_path: Path, world: World) -> None:
    _, reporter = train(tiny_job(tmp_path, optimization={"evaluateEverySteps": 2}), world)
    assert (tmp_path / "out" / "evaluations" / "step-2.jsonl").exists()
    assert not (tmp_path / "out" / "evaluations" / "step-4.jsonl").exists()
    assert len(reporter.evaluations) == 4


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"data": {"toxic": {"uri": "file:absent.txt"}}}, DataError, "spec.data.toxic"),
        ({"leader": {"model": "file:absent"}}, DataError, "spec.leader.model"),
        ({"leader": {"task": "seq2seq"}}, ConfigurationError, "spec.leader.task: 'seq2seq', but 'file:leader' is a causal model"),
        ({"leader": {"maxSourceTokens": 4}}, DataError, "spec.leader.maxSourceTokens: 4: every one of"),
        ({"deepspeed": {"config": {"fp16": {"enabled": True}}}}, ConfigurationError, "spec.deepspeed.config.fp16"),
    ],
    ids=["no data", "no model", "wrong kind", "all too long", "DeepSpeed key"],
)  # fmt: skip
def test_a_run_that_cannot_be_says_why(
    spec: dict[str, Any], error: type[Exception], message: str, tmp_path: Path, world: World
) -> None:
    with pytest.raises(error, match=message):
        train(tiny_job(tmp_path, **spec), world)


def test_the_references_scores_of_sources_outlive_a_cut(tmp_path: Path, world: World) -> None:
    # 12 sources in batches of 8: from the second step on, sources come back whose score was computed in another batch.
    spec: dict[str, Any] = {"data": {"toxic": {"uri": "file:toxic.txt", "maxRows": 36}}}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    train(tiny_job(whole, **spec), world)
    with pytest.raises(PowerCutError):
        train(tiny_job(cut, **spec), world, cut_at("Training", 3))
    train(tiny_job(cut, **spec), world)
    assert metrics(cut) == metrics(whole)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)], ids=["two, then one", "one, then two"])
def test_a_run_goes_on_with_another_number_of_processes(first: int, then: int, tmp_path: Path, world: World) -> None:
    whole, changed = tmp_path / "whole", tmp_path / "changed"
    whole.mkdir()
    changed.mkdir()
    train(tiny_job(whole), world)
    for processes, steps in ((first, 2), (then, 4)):
        config = tiny_job(changed, compute={"processesPerNode": processes}, optimization={"steps": steps})
        trainer = spawn(config, changed)
        assert trainer.wait(300) == ExitCode.COMPLETE, (changed / "log").read_text()
    for ours, theirs in zip(metrics(whole), metrics(changed), strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
        assert theirs.get("outcomes") == ours.get("outcomes")
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(changed)[name], value, atol=5e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "stage", "adapter"), [("llama", 2, "LoRA"), ("t5", 3, "Full")], ids=["ZeRO-2 LoRA", "ZeRO-3 T5"]
)
def test_two_processes_learn_what_one_does(kind: str, stage: int, adapter: str, tmp_path: Path, world: World) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    spec: dict[str, Any] = {"leader": {"adapter": {"type": adapter}}, "deepspeed": {"zeroStage": stage}}
    trainer = spawn(tiny_job(two, kind=kind, compute={"processesPerNode": 2}, **spec), two)
    train(tiny_job(one, kind=kind, **spec), world)
    assert trainer.wait(300) == ExitCode.COMPLETE, (two / "log").read_text()
    assert json.loads((two / "last-word").read_text())["reason"] == "TrainingComplete"
    for ours, theirs in zip(metrics(one), metrics(two), strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
        assert theirs.get("outcomes") == ours.get("outcomes")
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, atol=5e-4, rtol=1e-3)


@pytest.mark.slow
def test_sigterm_reaches_the_processes_and_ends_with_its_code(tmp_path: Path) -> None:
    config = tiny_job(tmp_path, optimization={"steps": 100_000, "checkpointEverySteps": 100_000})
    # Read as a pipe: opening it waits until the trainer has written its first row.
    (tmp_path / "out").mkdir()
    trainer = spawn(config, tmp_path)
    _await_first_step(tmp_path / "out" / "metrics.jsonl", trainer)
    trainer.send_signal(signal.SIGTERM)
    assert trainer.wait(120) == ExitCode.TERMINATED, (tmp_path / "log").read_text()
    assert json.loads((tmp_path / "last-word").read_text())["reason"] == "Terminated"
    assert [path for path in (tmp_path / "out" / "checkpoints").iterdir() if path.name.startswith("b-training-")]


def _await_first_step(path: Path, trainer: subprocess.Popen[bytes]) -> None:
    """Wait until a step of the game is told, or the trainer ends."""
    while trainer.poll() is None:
        if path.exists() and '"stage": "Training"' in path.read_text():
            return
        try:
            trainer.wait(0.1)
        except subprocess.TimeoutExpired:
            continue


@pytest.mark.parametrize(("text", "field"), [("{", "run.json"), ('{"name": "x"}', "spec")], ids=["no JSON", "no spec"])
def test_a_configuration_that_is_none_is_told_in_one_line(text: str, field: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "sro_trainer", "--config", str(file)], capture_output=True, text=True, check=False,
        env={**os.environ, "SRO_TERMINATION_LOG": str(tmp_path / "last-word")},
    )  # fmt: skip
    assert ended.returncode == ExitCode.BAD_CONFIGURATION
    assert field in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert json.loads((tmp_path / "last-word").read_text())["reason"] == "BadConfiguration"
