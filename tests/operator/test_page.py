"""The page that `sro status` prints."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sro_api.status import (
    AttemptStatus,
    EvaluationFigures,
    EvaluationStatus,
    OutputStatus,
    PodExit,
    ProgressStatus,
)
from sro_operator.observed import AttemptJob, Observed, TrainerPod
from sro_operator.page import duration, progress_bar, status_page
from sro_operator.status import next_status
from sro_operator.testing import EPOCH, make_job

NOW = EPOCH + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (7.9, "7s"), (185, "3m05s"), (3720, "1h02m"), (90_000, "1d01h")],
)
def test_a_duration_shows_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_bar_is_as_long_as_its_share() -> None:
    assert progress_bar(0) == "[------------------------]   0 %"
    assert progress_bar(50) == "[############------------]  50 %"
    assert progress_bar(100) == "[########################] 100 %"


def test_a_page_tells_phase_progress_conditions_attempts_and_results() -> None:
    pods = tuple(TrainerPod(name=f"p{i}", uid=f"p{i}", attempt=2, index=i, phase="Running") for i in range(2))
    gang = AttemptJob(name="demo-a2", uid="u", resource_version="1", attempt=2, created=EPOCH + timedelta(minutes=2))
    first = AttemptStatus(
        number=1, start_time=EPOCH, end_time=EPOCH + timedelta(seconds=65), reason="AttemptFailed", counted=True,
        exits=(PodExit(index=1, exit_code=137, reason="OOMKilled"),),
    )  # fmt: skip
    before = make_job().status.model_copy(update={"attempts": (first,)})
    status = next_status(make_job(before), Observed(jobs=(gang,), pods=pods), NOW)
    figures = EvaluationFigures(rows=96, pass_rate=0.5, similarity=0.91, copy_rate=0, empty_rate=0)
    progress = ProgressStatus(attempt=2, stage="Training", step=50, total_steps=200, percent=25, seconds_left=185,
                              loss=0.61, pass_rate=0.75, last_checkpoint_step=40, updated_at=NOW)  # fmt: skip
    update = {
        "progress": progress,
        "evaluation": EvaluationStatus(before=figures),
        "output": OutputStatus(uri="pvc://results/demo", model="/mnt/sro/results/demo/model"),
    }
    lines = status_page(make_job(status.model_copy(update=update)), NOW).splitlines()
    assert lines[:5] == [
        "Name:      demo",
        "Namespace: team",
        "Phase:     Running, all 2 pods of attempt 2 started",
        "Time:      5m00s since 2026-01-01 00:00:00Z",
        "Attempt:   2 (1 of 3 restarts used)",
    ]
    assert "Progress:  [######------------------]  25 %  Training, step 50 of 200, about 3m05s left" in lines
    assert "           loss 0.610, pass rate 0.750, checkpoint at step 40" in lines
    assert "  Running     True    PodsRunning     0s" in lines
    assert "  1       2026-01-01 00:00:00Z  1m05s  0          AttemptFailed  1: 137 OOMKilled" in lines
    assert "  before  96    0.500      -    0.910  -   -  0.000   0.000" in lines
    assert lines[-2:] == ["Output:    pvc://results/demo", "Model:     /mnt/sro/results/demo/model"]


def test_a_job_that_nobody_has_looked_at_has_a_page_too() -> None:
    assert status_page(make_job(), NOW) == "Name:      demo\nNamespace: team\nPhase:     Unknown\n"
