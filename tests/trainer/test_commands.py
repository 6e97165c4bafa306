"""`sro run` from the command line to the table, with a tiny leader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sro_api.exit_codes import ExitCode
from sro_api.run_config import RunConfig
from sro_trainer.report import RunReport
from sro_trainer.testing import tiny_leader, write_corpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def leader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer Llama."""
    folder = tmp_path_factory.mktemp("leader")
    tiny_leader("llama").save(folder)
    return folder


def job_in(folder: Path, leader: Path, *, steps: int = 2, **data: Any) -> Path:
    write_corpus(folder)
    spec = {
        "leader": {
            "model": f"file://{leader}",
            "dtype": "float32",
            "maxNewTokens": 8,
            "warmStart": {"steps": 2, "batchSize": 4},
        },
        "heldOutScreener": None,
        "guards": {"similarity": None, "fluency": None},
        "evaluation": {"similarity": None, "fluency": None},
        "data": {
            "toxic": {"uri": "file:toxic.txt"},
            "neutral": {"uri": "file:neutral.txt"},
            "evaluationRows": 8,
            **data,
        },
        "optimization": {"steps": steps, "batchSize": 4, "checkpointEverySteps": 1_000_000},
        "deepspeed": {"zeroStage": 0},
        "output": {"uri": "file:out"},
    }
    file = folder / "job.yaml"
    file.write_text(
        yaml.safe_dump({"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "metadata": {"name": "tiny"}, "spec": spec})
    )
    return file


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Start]:
    """Starts `sro run`; what a test leaves running is stopped."""
    runs: list[subprocess.Popen[str]] = []

    def start(file: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "sro_api.cli", "run", str(file), *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        # stderr into stdout: one pipe to read keeps the order of lines and cannot fill up unread.
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


def lines_until(run: subprocess.Popen[str], mark: str) -> list[str]:
    """What the run says, up to the first line with a mark."""
    assert run.stdout is not None
    lines = []
    for line in run.stdout:
        lines.append(line)
        if mark in line:
            return lines
    raise AssertionError(f"ended without {mark!r}: {''.join(lines)}")


def test_a_run_ends_with_the_table_and_the_model_and_is_not_done_twice(
    tmp_path: Path, leader: Path, started: Start
) -> None:
    file = job_in(tmp_path, leader)
    first = started(file)
    output, _ = first.communicate()
    assert first.returncode == ExitCode.COMPLETE, output
    assert "leader, before the game" in output
    assert f"model: {tmp_path}/out/model" in output
    assert (tmp_path / "out" / "model" / "config.json").is_file()
    assert RunReport.read(tmp_path / "out").steps == 2

    second = started(file)
    output, _ = second.communicate()
    assert second.returncode == ExitCode.COMPLETE
    assert output.startswith(f"{tmp_path}/out holds this run, finished; --fresh starts over")
    assert "leader, after the game" in output


def test_bad_data_ends_with_its_exit_code_and_one_line(tmp_path: Path, leader: Path, started: Start) -> None:
    file = job_in(tmp_path, leader)
    (tmp_path / "toxic.txt").write_bytes(b"fine\nbad \xff\n")
    run = started(file)
    output, _ = run.communicate()
    assert run.returncode == ExitCode.BAD_DATA
    assert "spec.data.toxic: 'file:toxic.txt' is not UTF-8: byte 0xff in line 2, at offset 9" in output
    assert "Traceback" not in output


def test_a_run_that_is_stopped_checkpoints_and_goes_on(tmp_path: Path, leader: Path, started: Start) -> None:
    file = job_in(tmp_path, leader, steps=100_000)
    first = started(file)
    lines_until(first, '"stage": "Training"')
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate()
    assert first.returncode == ExitCode.TERMINATED, output
    assert output.endswith("sro run: stopped after a checkpoint; the same command goes on from it\n")

    again = started(file)
    lines = lines_until(again, '"stage": "Training"')
    again.send_signal(signal.SIGTERM)
    again.communicate()
    assert again.returncode == ExitCode.TERMINATED
    assert lines[0] == f"going on with the run in {tmp_path}/out\n"
    assert not any('"stage": "WarmStart"' in line for line in lines)
    assert RunConfig.load(tmp_path / "out" / "run.json").attempt == 2
