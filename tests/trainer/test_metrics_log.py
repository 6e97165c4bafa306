"""metrics.jsonl: rows that stand, and rows that are done again."""

from __future__ import annotations

import json
import math
from pathlib import Path

from sro_trainer.metrics_log import MetricsLog


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_is_readable_before_the_log_is_closed(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "runs" / "metrics.jsonl")
    log.append({"step": 1, "loss": 0.7})
    assert rows(tmp_path / "runs" / "metrics.jsonl") == [{"step": 1, "loss": 0.7}]
    log.close()


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "m.jsonl") as log:
        log.append({"step": 1, "a": math.nan, "b": math.inf})
    assert rows(tmp_path / "m.jsonl") == [{"step": 1, "a": None, "b": None}]


def test_resuming_drops_what_will_be_written_again(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "m.jsonl") as log:
        for step in (1, 2, 3, 4):
            log.append({"step": step, "stage": "WarmStart"})
        for step in (1, 2, 3):
            log.append({"step": step, "stage": "Training"})
    with MetricsLog(tmp_path / "m.jsonl") as log:
        assert log.resume_after(2) == 1
        log.append({"step": 3, "stage": "Training", "again": True})
    stages = [(row["stage"], row["step"]) for row in rows(tmp_path / "m.jsonl")]
    assert stages == [("WarmStart", n) for n in (1, 2, 3, 4)] + [("Training", n) for n in (1, 2, 3)]


def test_resuming_in_the_warm_start_drops_the_game(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "m.jsonl") as log:
        log.append({"step": 1, "stage": "WarmStart"})
        log.append({"step": 2, "stage": "WarmStart"})
        log.append({"step": 1, "stage": "Training"})
        assert log.resume_after(1, stage="WarmStart") == 2
    assert [row["step"] for row in rows(tmp_path / "m.jsonl")] == [1]


def test_a_line_cut_by_a_crash_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"step": 1}\n{"ste')
    with MetricsLog(tmp_path / "m.jsonl") as log:
        assert log.resume_after(5) == 1
        log.append({"step": 2})
    assert rows(tmp_path / "m.jsonl") == [{"step": 1}, {"step": 2}]
