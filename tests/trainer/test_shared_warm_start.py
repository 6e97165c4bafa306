"""One warm start for many jobs: what is loaded, what is read again, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sro_api.run_config import RunConfig
from sro_trainer.distributed import World
from sro_trainer.errors import ConfigurationError, DataError
from sro_trainer.session import Finished, run
from sro_trainer.termination import StopRequest
from sro_trainer.testing import RecordingReporter, tiny_job, tiny_leader

WARM_START = {"steps": 3, "batchSize": 8}


def train(config: RunConfig, world: World) -> tuple[Finished, RecordingReporter]:
    reporter = RecordingReporter()
    return run(config, world, StopRequest(), reporter), reporter


def warm_job(folder: Path, **spec: Any) -> RunConfig:
    """A job that trains a warm start in `first` and plays no game."""
    return tiny_job(folder, optimization={"steps": 0}, output={"uri": "file:first"}, **spec)


def cold_job(folder: Path, *, shared: str = "file:first", **spec: Any) -> RunConfig:
    """A job that loads it."""
    leader = {"warmStart": None, "warmStartFrom": shared, **spec.pop("leader", {})}
    return tiny_job(folder, leader=leader, **spec)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """A folder with a finished warm start; tests copy it."""
    folder = tmp_path_factory.mktemp("trained")
    train(warm_job(folder), world)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "copy")


def weights(folder: Path, output: str) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(folder / output / "model" / "model.safetensors")
    return loaded


def test_a_job_of_no_steps_trains_the_warm_start_alone(trained: Path) -> None:
    report = json.loads((trained / "first" / "report.json").read_text())
    assert report["steps"] == 0
    assert report["evaluation"]["after"] == report["evaluation"]["before"]
    rows = [json.loads(line) for line in (trained / "first" / "metrics.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["WarmStart"] * 3


def test_a_game_from_a_loaded_warm_start_is_the_game_from_its_own(folder: Path, world: World) -> None:
    train(tiny_job(folder, output={"uri": "file:own"}), world)
    finished, reporter = train(cold_job(folder), world)
    assert not any(progress.stage == "WarmStart" for progress in reporter.progress)
    assert finished.evaluation.untrained is None
    loaded = weights(folder, "out")
    for name, value in weights(folder, "own").items():
        torch.testing.assert_close(loaded[name], value, atol=0, rtol=0)


def test_the_evaluation_before_the_game_is_that_of_the_warm_start(folder: Path, world: World) -> None:
    rewrites = folder / "first" / "evaluations" / "before-rewrites.json"
    before = (folder / "first" / "evaluations" / "before.jsonl").read_text()
    train(cold_job(folder), world)
    assert (folder / "out" / "evaluations" / "before.jsonl").read_text() == before
    assert (folder / "out" / "evaluations" / "before-rewrites.json").read_text() == rewrites.read_text()


@pytest.mark.parametrize("change", ["key", "paraphrases"], ids=["another key", "changed texts"])
def test_rewrites_that_cannot_be_trusted_are_written_anew(change: str, folder: Path, world: World) -> None:
    rewrites = folder / "first" / "evaluations" / "before-rewrites.json"
    content = json.loads(rewrites.read_text())
    marked = ["not what the leader wrote"] * len(content["paraphrases"])
    rewrites.write_text(json.dumps({**content, "paraphrases": marked, **({"key": "x"} if change == "key" else {})}))
    train(cold_job(folder), world)
    assert "not what the leader wrote" not in (folder / "out" / "evaluations" / "before.jsonl").read_text()


def test_other_evaluation_rows_are_rewritten(folder: Path, world: World) -> None:
    finished, _ = train(cold_job(folder, data={"evaluationRows": 4}), world)
    assert finished.evaluation.before is not None
    assert finished.evaluation.before.rows == 4


def test_once_loaded_the_job_needs_the_other_one_no_more(folder: Path, world: World) -> None:
    train(cold_job(folder), world)
    shutil.rmtree(folder / "first")
    finished, _ = train(cold_job(folder, optimization={"steps": 6}), world)
    assert finished.output.model is not None


@pytest.mark.parametrize("part", ["first", "first/checkpoints", "first/checkpoints/reference"])
def test_the_uri_may_name_output_checkpoints_or_reference(part: str, folder: Path, world: World) -> None:
    finished, _ = train(cold_job(folder, shared=f"file:{part}"), world)
    assert finished.evaluation.after is not None


def test_the_uri_may_be_on_a_claim(folder: Path, world: World) -> None:
    config = cold_job(folder, shared="pvc://copy/first").model_copy(update={"claims": str(folder.parent)})
    finished, _ = train(config, world)
    assert finished.evaluation.after is not None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"leader": {"adapter": {"lora": {"rank": 4}}}}, "is of another adapter: .*rank:16.* there, .*rank:4.* here"),
        ({"leader": {"adapter": {"type": "Full"}}}, "is of another adapter"),
        ({"leader": {"promptTemplate": "Rewrite: {source} ->"}}, "is of another prompt: spec.leader.promptTemplate or the tokenizer"),
        ({"leader": {"model": "file:other"}}, "is of another model than spec.leader.model: the weights differ"),
    ],
    ids=["rank", "full weights", "template", "model"],
)  # fmt: skip
def test_a_warm_start_of_another_leader_is_refused(
    spec: dict[str, Any], message: str, folder: Path, world: World
) -> None:
    tiny_leader(seed=1).save(folder / "other")
    with pytest.raises(
        ConfigurationError, match=f"spec.leader.warmStartFrom: 'file:first', trained by tiny, {message}"
    ):
        train(cold_job(folder, **spec), world)


def test_a_damaged_warm_start_is_refused(folder: Path, world: World) -> None:
    (folder / "first" / "checkpoints" / "reference" / "weights.safetensors").write_bytes(b"noise")
    with pytest.raises(
        DataError, match=r"warmStartFrom: 'file:first': reference: weights.safetensors differs from its checksum"
    ):
        train(cold_job(folder), world)


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ("file:absent", "is not there"),
        ("file:leader", "is a model, whose warm start is in its weights: name it in spec.leader.model"),
        ("file:first/evaluations", "no warm start was finished there"),
    ],
)
def test_what_holds_no_warm_start_is_named(shared: str, message: str, folder: Path, world: World) -> None:
    with pytest.raises(DataError, match=f"spec.leader.warmStartFrom: '{shared}'.* {message}"):
        train(cold_job(folder, shared=shared), world)
