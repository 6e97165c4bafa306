"""SRO's side of `make bench-train`: one process, a whole run of the trainer, metered from outside."""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from workload import Meter, Workload

from sro_api.status import ProgressStatus
from sro_trainer.distributed import join, leave
from sro_trainer.session import run
from sro_trainer.termination import StopRequest
from sro_trainer.testing import RecordingReporter


def main() -> None:
    workload = Workload(**json.loads(sys.argv[1]))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    meter = Meter(last=workload.steps + 1)
    seen = {0}

    def then(progress: ProgressStatus) -> None:
        if progress.stage == "Training" and progress.step not in seen:
            seen.add(progress.step)
            meter.step_ended(progress.step)

    with tempfile.TemporaryDirectory() as folder:
        world = join({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"})
        run(workload.config(Path(folder)), world, StopRequest(), RecordingReporter(then))
        rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        leave()
    measured = [row for row in rows if row["stage"] == "Training"][1:]
    phases = {name: sum(row["seconds"][name] for row in measured) for name in measured[0]["seconds"]}
    print(
        json.dumps(
            meter.figures(
                completions=sum(row["rows"] for row in measured),
                completions_in_loss=sum(row["rows_in_loss"] for row in measured),
                scored_tokens=sum(row["tokens"] for row in measured),
                pass_rate=sum(row["pass_rate"] for row in measured) / len(measured),
                phases=phases,
            )
        )
    )


if __name__ == "__main__":
    main()
