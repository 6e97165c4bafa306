"""`sro study --cluster` against a real control plane: cells as SROJobs, one at a time, adopted by the next start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before its import, or its assertions would fail without a word.
pytest.register_assert_rewrite("operator_stage")

from operator_stage import Stage, wait_until  # noqa: E402

pytestmark = pytest.mark.e2e
pytest_plugins = ["operator_stage"]

BASE = {
    "leader": {"model": "pvc://models/leader", "warmStart": {"steps": 5}},
    "data": {"toxic": {"uri": "pvc://data/toxic.txt"}, "neutral": {"uri": "pvc://data/neutral.txt"}},
    "runPolicy": {"maxRestarts": 0},
}
INCLUDE = [{"name": "low", "patch": {"method": {"beta": 0.1}}}, {"name": "high", "patch": {"method": {"beta": 0.5}}}]

Start = Callable[..., subprocess.Popen[str]]


def study_in(folder: Path, **spec: Any) -> Path:
    full = {
        "base": {"spec": BASE}, "include": INCLUDE, "sharedWarmStart": True, "concurrency": 1, "output": {"uri": "pvc://results/st"},
        **spec,
    }  # fmt: skip
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({"kind": "Study", "metadata": {"name": "st"}, "spec": full}))
    return file


@pytest.fixture
def started(stage: Stage) -> Iterator[Start]:
    """Starts `sro study --cluster`; what a test leaves running is stopped."""
    runs: list[subprocess.Popen[str]] = []
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Tests that run in the background would hand on a Ctrl-C that is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(file: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [
            str(Path(sys.executable).with_name("sro")),
            "study",
            str(file),
            "--cluster",
            "-n",
            stage.namespace,
            *arguments,
        ]
        environment = {**os.environ, "KUBECONFIG": str(stage.kubectl.kubeconfig)}
        run = subprocess.Popen(
            command, cwd=file.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        runs.append(run)
        return run

    yield start
    for run in runs:
        if run.poll() is None:
            run.kill()
            run.wait()
        assert run.stdout is not None
        run.stdout.close()


def jobs(stage: Stage) -> set[str]:
    listed = stage.kubectl.get("srojobs", "-n", stage.namespace, "-l", "sro.dev/study=st")["items"]
    return {job["metadata"]["name"] for job in listed}


def await_jobs(stage: Stage, *names: str) -> None:
    wait_until(lambda: jobs(stage) == set(names), f"the jobs are {names}", lambda: str(jobs(stage)))


def train(stage: Stage, name: str, *, joint: float = 0.5, code: int = 0) -> None:
    """What kubelet and trainer say of a job that runs to its end."""
    figures = {"rows": 4, "passRate": 1.0, "joint": joint, "copyRate": 0.0, "emptyRate": 0.0}
    note = {"reason": "TrainingComplete", "message": "trained", "evaluation": {"after": figures}}
    (pod,) = stage.pods(1, name, count=1)
    stage.run_pods(pod)
    stage.end_pod(pod, code, json.dumps(note if code == 0 else {"reason": "BadData", "message": "no rows"}))
    stage.wait_phase("Failed" if code else "Complete", name)


def test_cells_run_one_at_a_time_after_their_warm_start_and_are_collected(
    stage: Stage, tmp_path: Path, started: Start
) -> None:
    run = started(study_in(tmp_path))
    await_jobs(stage, "st-warm-start")
    train(stage, "st-warm-start")
    await_jobs(stage, "st-warm-start", "st-low-s0")
    spec = stage.job("st-low-s0")["spec"]
    assert spec["leader"]["warmStartFrom"] == "pvc://results/st/cells/st-warm-start"

    # Left and started again: what is there is adopted.
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate()
    assert run.returncode == 76, output
    assert "the jobs go on, and the same command watches them again" in output
    again = started(tmp_path / "study.yaml")
    train(stage, "st-low-s0", joint=0.7)
    await_jobs(stage, "st-warm-start", "st-low-s0", "st-high-s0")
    train(stage, "st-high-s0", code=65)
    output, _ = again.communicate()
    assert again.returncode == 1, output
    assert "2 of them there" in output

    record = json.loads((tmp_path / "runs" / "st" / "cells" / "st-low-s0" / "job.json").read_text())
    assert (record["phase"], record["evaluation"]["after"]["joint"]) == ("Complete", 0.7)
    report = json.loads((tmp_path / "runs" / "st" / "study.json").read_text())
    states = {cell["name"]: cell["state"] for cell in report["cells"]}
    assert states == {"st-warm-start": "Finished", "st-low-s0": "Finished", "st-high-s0": "Failed"}


def test_pods_mount_the_claim_of_a_warm_start_of_another_job(stage: Stage) -> None:
    stage.submit(leader={"model": "file:///models/leader", "warmStartFrom": "pvc://earlier/run"}, compute={"nodes": 1})
    (pod,) = stage.pods(1, count=1)
    volumes = stage.kubectl.get("pod", pod, "-n", stage.namespace)["spec"]["volumes"]
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume}
    assert "earlier" in claims


def test_a_study_that_writes_into_a_pod_is_refused(stage: Stage, tmp_path: Path, started: Start) -> None:
    run = started(study_in(tmp_path, output={"uri": "file:out"}))
    output, _ = run.communicate()
    assert run.returncode == 64
    assert "spec.output.uri: 'file:out' is a pod's own folder on a cluster" in output
