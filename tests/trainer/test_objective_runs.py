"""Whole runs of every objective and option: they end, go on where they were cut, and do not depend on the number of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sro_api.exit_codes import ExitCode
from sro_trainer.distributed import World
from sro_trainer.report import RunReport
from sro_trainer.testing import neutral_sentences, tiny_job, toxic_sentences
from test_run import PowerCutError, cut_at, metrics, spawn, train, weights

PAIRS: dict[str, Any] = {"leader": {"sampling": {"paraphrasesPerSource": 2}}}
RENEWED: dict[str, Any] = {"method": {"updateReferenceEverySteps": 2}, "optimization": {"checkpointEverySteps": 1}}
NOISY: dict[str, Any] = {
    "screener": {"perturbation": {"kind": "SymmetricFlips", "rate": 0.2}},
    "method": {
        "verdictNoise": {"correction": "estimated", "certainRows": 30, "shrinkage": True},
        "sro": {"softVerdict": True, "pairWeight": 1},
    },
    **PAIRS,
}  # fmt: skip


def with_pairs(folder: Path) -> dict[str, Any]:
    rows = zip(toxic_sentences()[:100], neutral_sentences()[:100], strict=True)
    (folder / "pairs.tsv").write_text("toxic\tneutral\n" + "".join(f"{x}\t{y}\n" for x, y in rows))
    # The corpus asks for more tokens than a paraphrase of eight has.
    return {
        "method": {"type": "SFT"},
        "data": {"parallel": {"uri": "file:pairs.tsv"}},
        "leader": {"maxNewTokens": 40, "warmStart": None},
    }


@pytest.mark.parametrize("kind", ["DPO", "OnlineDPO", "KTO", "NPO", "BCO", "IPO", "RAFT"])
def test_every_objective_plays_the_same_game_to_its_end(kind: str, tmp_path: Path, world: World) -> None:
    spec: dict[str, Any] = {"leader": {"warmStart": None, **PAIRS["leader"]}, "optimization": {"steps": 2}}
    train(tiny_job(tmp_path, method={"type": kind}, **spec), world)
    rows = metrics(tmp_path)
    assert [row["rows"] for row in rows] == [16, 16]
    assert all(row["loss"] is not None and row["rows_in_loss"] <= 16 for row in rows)
    # The first rollout is the same whatever is learnt from it.
    (tmp_path / "other").mkdir()
    train(tiny_job(tmp_path / "other", **spec), world)
    assert metrics(tmp_path / "other")[0]["outcomes"] == rows[0]["outcomes"]


def test_pairs_are_learnt_and_nothing_is_drawn(tmp_path: Path, world: World) -> None:
    train(tiny_job(tmp_path, **with_pairs(tmp_path), optimization={"steps": 12, "learningRate": 2e-2}), world)
    rows = metrics(tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.5
    assert rows[0]["kl"] is None
    assert all(row["rows_in_loss"] == 8 for row in rows)


@pytest.mark.parametrize(
    "spec",
    [
        {"method": {"type": "BCO"}, "optimization": {"checkpointEverySteps": 1}},
        RENEWED,
        {**RENEWED, "leader": {"adapter": {"type": "Full"}, "warmStart": None}},
        {**RENEWED, "leader": {"warmStart": None}},
        NOISY,
    ],
    ids=["mean reward", "renewed adapter", "renewed weights", "renewed adapter without a warm start", "noise"],
)
def test_what_a_method_remembers_survives_a_cut(spec: dict[str, Any], tmp_path: Path, world: World) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    train(tiny_job(whole, **spec), world)
    with pytest.raises(PowerCutError):
        train(tiny_job(cut, **spec), world, cut_at("Training", 4))
    train(tiny_job(cut, **spec), world)
    assert metrics(cut) == metrics(whole)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(cut)[name], value, atol=0, rtol=0)


def test_the_report_says_what_became_of_the_verdicts(tmp_path: Path, world: World) -> None:
    train(tiny_job(tmp_path, **NOISY, optimization={"steps": 1}), world)
    used = RunReport.read(tmp_path / "out").verdicts
    assert used is not None
    assert (used.perturbation.kind, used.perturbation.rate, used.correction) == ("SymmetricFlips", 0.2, "estimated")
    assert 0 < used.false_pass_rate < 0.5
    assert used.sharpness is not None
    assert 0 < used.shrinkage < 1


def test_a_renewed_reference_is_where_the_policy_was(tmp_path: Path, world: World) -> None:
    train(tiny_job(tmp_path, **RENEWED), world)
    rows = [row for row in metrics(tmp_path) if row["stage"] == "Training"]
    assert [abs(row["kl"]) < 1e-6 for row in rows] == [True, False, True, False]
    folder = tmp_path / "out" / "checkpoints"
    kept = [load_file(folder / f"b-training-00000000{step}" / "reference.safetensors") for step in (3, 4)]
    assert any(not torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "stage"),
    [
        ({"method": {"type": "KTO"}, **PAIRS}, 2),
        ({"method": {"type": "OnlineDPO", "onlineDPO": {"ties": "firstWins"}}, **PAIRS}, 0),
        ({"method": {"type": "BCO"}}, 0),
        ({**NOISY, "method": {**NOISY["method"], "updateReferenceEverySteps": 2}}, 3),
    ],
    ids=["KTO ZeRO-2", "OnlineDPO", "BCO", "robust, renewed, ZeRO-3"],
)
def test_two_ranks_learn_what_one_does(spec: dict[str, Any], stage: int, tmp_path: Path, world: World) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    spec = {**spec, "deepspeed": {"zeroStage": stage}}
    trainer = spawn(tiny_job(two, compute={"processesPerNode": 2}, **spec), two)
    train(tiny_job(one, **spec), world)
    assert trainer.wait(300) == ExitCode.COMPLETE, (two / "log").read_text()
    for ours, theirs in zip(metrics(one), metrics(two), strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
        assert theirs.get("outcomes") == ours.get("outcomes")
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, atol=5e-4, rtol=1e-3)
