"""`sro study` on this machine with a tiny leader: finished, failed, cut and resumed cells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sro_api.exit_codes import ExitCode
from sro_api.run_config import RunConfig
from sro_trainer.study.outcomes import Outcome
from sro_trainer.testing import tiny_leader, write_corpus

pytestmark = [pytest.mark.slow, pytest.mark.study]

PLAIN = {"name": "plain"}
BROKEN = {"name": "broken", "patch": {"screener": {"model": "file:absent.json"}}}


@pytest.fixture(scope="module")
def leader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer Llama."""
    folder = tmp_path_factory.mktemp("leader")
    tiny_leader("llama").save(folder)
    return folder


def study_in(folder: Path, leader: Path, *, steps: int = 2, **spec: Any) -> Path:
    write_corpus(folder)
    base = {
        "leader": {"model": f"file://{leader}", "dtype": "float32", "maxNewTokens": 8, "warmStart": {"steps": 2, "batchSize": 4}},
        "heldOutScreener": None,
        "guards": {"similarity": None, "fluency": None},
        "evaluation": {"similarity": None, "fluency": None},
        "data": {"toxic": {"uri": "file:toxic.txt"}, "neutral": {"uri": "file:neutral.txt"}, "evaluationRows": 8},
        "optimization": {"steps": steps, "batchSize": 4, "checkpointEverySteps": 5, "keepCheckpoints": 1},
        "deepspeed": {"zeroStage": 0},
    }  # fmt: skip
    full = {"base": {"spec": base}, "output": {"uri": "file:out"}, "include": [PLAIN], "baselines": ["before"], **spec}
    file = folder / "study.yaml"
    file.write_text(
        yaml.safe_dump({"apiVersion": "sro.dev/v1alpha1", "kind": "Study", "metadata": {"name": "t"}, "spec": full})
    )
    return file


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Start]:
    """Starts `sro study`; what a test leaves running is stopped."""
    runs: list[subprocess.Popen[str]] = []

    def start(file: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "sro_api.cli", "study", str(file), *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.Popen(
            command, cwd=file.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        runs.append(run)
        return run

    yield start
    for run in runs:
        if run.poll() is None:
            run.terminate()
            run.wait()
        assert run.stdout is not None
        run.stdout.close()


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = run.communicate()
    return run.returncode, output


def cell(folder: Path, name: str) -> Path:
    return folder / "out" / "cells" / name


def await_step(run: subprocess.Popen[str], metrics: Path, step: int) -> None:
    """Wait until a step of the game is on disk."""
    mark = f'"stage": "Training", "step": {step},'
    while not (metrics.exists() and mark in metrics.read_text()):
        assert run.poll() is None, ended(run)
        time.sleep(0.05)


def trainer_of(run: subprocess.Popen[str]) -> int:
    """The process that leads the session of the running cell's trainer."""
    # Started by one of its threads, under which alone the kernel lists it.
    threads = Path(f"/proc/{run.pid}/task").glob("*/children")
    (child,) = [word for thread in threads for word in thread.read_text().split()]
    return int(child)


def test_cells_share_a_warm_start_a_failed_one_is_recorded_and_nothing_is_done_twice(
    tmp_path: Path, leader: Path, started: Start
) -> None:
    compared = {
        "name": "broken - plain",
        "of": {"cells": {"cell": "broken"}},
        "against": {"cells": {"cell": "plain"}},
        "figure": "passRate",
    }
    file = study_in(tmp_path, leader, sharedWarmStart=True, include=[BROKEN, PLAIN], comparisons=[compared])
    code, output = ended(started(file))
    assert code == 1, output
    assert "t-broken-s0 FAILED after" in output
    assert "t-plain-s0 finished in" in output
    failed = Outcome.read(cell(tmp_path, "t-broken-s0"))
    assert failed is not None
    assert (failed.state, failed.exit_code, failed.reason) == ("Failed", ExitCode.BAD_DATA, "BadData")
    assert "spec.screener.model: 'file:absent.json' is not there" in failed.message

    report = json.loads((tmp_path / "out" / "study.json").read_text())
    assert {entry["name"]: entry["state"] for entry in report["cells"]} == {
        "t-warm-start": "Finished", "t-broken-s0": "Failed", "t-plain-s0": "Finished",
    }  # fmt: skip
    assert "none of 1 cells of cell broken is finished" in report["comparisons"][0]["missing"]
    assert report["settings"][1]["figures"]["passRate"].keys() == {"mean", "low", "high", "seeds"}
    assert "passRate" in report["baselines"]["before"]
    assert (tmp_path / "out" / "study.html").read_text().startswith("<!doctype html>")

    warm, plain = cell(tmp_path, "t-warm-start"), cell(tmp_path, "t-plain-s0")
    assert (warm / "checkpoints" / "reference" / "origin.json").is_file()
    assert not (plain / "checkpoints").exists()
    assert not (plain / "model").exists()
    assert '"WarmStart"' not in (plain / "metrics.jsonl").read_text()

    again, output = ended(started(file))
    assert again == 1
    assert "study t: 3 cells, 3 of them done or failed, 0 to run" in output


def test_a_study_killed_with_its_trainer_goes_on_from_the_checkpoint(
    tmp_path: Path, leader: Path, started: Start
) -> None:
    file = study_in(tmp_path, leader, steps=120)
    first = started(file)
    metrics = cell(tmp_path, "t-plain-s0") / "metrics.jsonl"
    await_step(first, metrics, 12)
    trainer = trainer_of(first)
    first.kill()
    first.wait()
    code, output = ended(started(file))
    assert code == ExitCode.BAD_CONFIGURATION
    assert "another `sro study`, or a trainer that one left running, is at work there" in output
    os.killpg(trainer, signal.SIGKILL)

    second = started(file)
    code, output = ended(second)
    while "is at work there" in output:
        # The killed trainer's workers take a moment to go.
        code, output = ended(started(file))
    assert code == ExitCode.COMPLETE, output
    assert "t-plain-s0 goes on" in output
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows if row["stage"] == "Training"] == list(range(1, 121))
    assert RunConfig.load(cell(tmp_path, "t-plain-s0") / "run.json").attempt == 2
    assert [row["step"] for row in rows if row["stage"] == "WarmStart"] == [1, 2]


def test_a_stopped_study_checkpoints_and_says_that_it_can_go_on(tmp_path: Path, leader: Path, started: Start) -> None:
    file = study_in(
        tmp_path, leader, steps=100_000, include=[PLAIN, {"name": "next", "patch": {"method": {"beta": 0.2}}}]
    )
    run = started(file)
    await_step(run, cell(tmp_path, "t-plain-s0") / "metrics.jsonl", 2)
    run.send_signal(signal.SIGINT)
    code, output = ended(run)
    assert code == ExitCode.TERMINATED, output
    assert "t-plain-s0 stopped after a checkpoint; the same command goes on from it" in output
    outcome = Outcome.read(cell(tmp_path, "t-plain-s0"))
    assert outcome is not None
    assert (outcome.state, outcome.exit_code) == ("Unfinished", ExitCode.TERMINATED)
    assert not cell(tmp_path, "t-next-s0").exists()


def test_cells_train_side_by_side_and_are_stopped_together(tmp_path: Path, leader: Path, started: Start) -> None:
    betas = [{"name": f"b{number}", "patch": {"method": {"beta": 0.1 * number}}} for number in (1, 2, 3)]
    file = study_in(tmp_path, leader, steps=100_000, sharedWarmStart=True, include=betas)
    run = started(file, "--at-once", "2")
    for name in ("t-b1-s0", "t-b2-s0"):
        await_step(run, cell(tmp_path, name) / "metrics.jsonl", 2)
    run.send_signal(signal.SIGINT)
    code, output = ended(run)
    assert code == ExitCode.TERMINATED, output
    for name in ("t-b1-s0", "t-b2-s0"):
        outcome = Outcome.read(cell(tmp_path, name))
        assert outcome is not None
        assert (outcome.state, outcome.exit_code) == ("Unfinished", ExitCode.TERMINATED)
    assert not cell(tmp_path, "t-b3-s0").exists()


def test_cells_side_by_side_learn_what_they_learn_alone(tmp_path: Path, leader: Path, started: Start) -> None:
    betas = [{"name": f"b{number}", "patch": {"method": {"beta": 0.1 * number}}} for number in (1, 2, 3)]
    losses: list[list[list[float]]] = []
    for arguments in ((), ("--at-once", "3")):
        folder = tmp_path / f"run{len(losses)}"
        folder.mkdir()
        code, output = ended(started(study_in(folder, leader, sharedWarmStart=True, include=betas), *arguments))
        assert code == ExitCode.COMPLETE, output
        files = [cell(folder, f"t-b{number}-s0") / "metrics.jsonl" for number in (1, 2, 3)]
        losses.append([[json.loads(line)["loss"] for line in file.read_text().splitlines()] for file in files])
    assert losses[0] == losses[1]
    assert all(len(rows) == 2 for rows in losses[0])


def test_a_cell_over_its_time_fails_and_the_next_one_runs(tmp_path: Path, leader: Path, started: Start) -> None:
    file = study_in(tmp_path, leader, include=[PLAIN, {"name": "next", "patch": {"method": {"beta": 0.2}}}])
    code, output = ended(started(file, "--cell-seconds", "1"))
    assert code == 1, output
    for name in ("t-plain-s0", "t-next-s0"):
        outcome = Outcome.read(cell(tmp_path, name))
        assert outcome is not None
        assert (outcome.state, outcome.reason) == ("Failed", "TimeLimit")
        assert outcome.message.startswith("not finished within 1 s (cellSeconds): ")


def test_a_study_over_its_time_stops_and_fails_nothing(tmp_path: Path, leader: Path, started: Start) -> None:
    file = study_in(tmp_path, leader)
    code, output = ended(started(file, "--until-seconds", "1"))
    assert code == ExitCode.TERMINATED, output
    outcome = Outcome.read(cell(tmp_path, "t-plain-s0"))
    assert outcome is not None
    assert outcome.state == "Unfinished"


def test_a_cell_whose_specification_changed_is_not_mixed_with_the_old_one(
    tmp_path: Path, leader: Path, started: Start
) -> None:
    ended(started(study_in(tmp_path, leader), "--until-seconds", "1"))
    code, output = ended(started(study_in(tmp_path, leader, steps=3)))
    assert code == ExitCode.BAD_CONFIGURATION
    assert (
        "t-plain-s0: what lies there is a run of another specification; --fresh, with --only for some, starts over"
        in output
    )


def test_list_tells_the_states_and_runs_nothing(tmp_path: Path, leader: Path, started: Start) -> None:
    code, output = ended(started(study_in(tmp_path, leader, sharedWarmStart=True), "--list"))
    assert code == 0
    assert output.count("Waiting") == 2
    assert not (tmp_path / "out").exists()
