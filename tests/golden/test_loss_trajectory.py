"""The golden loss trajectory: a tiny leader, a fixed seed, and the losses that it had when they were last looked at.

A change here changes what a user's run learns. Where that is meant, `WRITE_GOLDEN=1 pytest tests/golden/test_loss_trajectory.py`
writes the new figures, and the commit says why they moved.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from sro_trainer.session import run
from sro_trainer.termination import StopRequest
from sro_trainer.testing import RecordingReporter, tiny_job, world_of_one

GOLDEN = Path(__file__).parent / "loss_trajectory.json"
FIGURES = ("loss", "pass_rate", "kl", "paraphrase_logratio", "source_logratio")


def trajectory(folder: Path, kind: str) -> list[dict[str, Any]]:
    optimization = {"steps": 6, "batchSize": 8, "learningRate": 5e-3, "checkpointEverySteps": 100}
    run(tiny_job(folder, kind=kind, optimization=optimization), world_of_one(), StopRequest(), RecordingReporter())
    rows = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    return [
        {
            "stage": row["stage"],
            "step": row["step"],
            **{name: row[name] for name in FIGURES if row.get(name) is not None},
        }
        for row in rows
    ]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_the_losses_are_those_that_were_written_down(kind: str, tmp_path: Path) -> None:
    now = trajectory(tmp_path, kind)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("WRITE_GOLDEN"):
        golden[kind] = now
        GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    assert len(now) == len(golden[kind]) == 9
    for got, expected in zip(now, golden[kind], strict=True):
        assert got.keys() == expected.keys()
        # Processors add in different orders: the first digits are what is promised.
        for name, value in expected.items():
            assert got[name] == (pytest.approx(value, rel=2e-3, abs=1e-3) if isinstance(value, float) else value), (
                got["step"],
                name,
            )
