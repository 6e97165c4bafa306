"""Progress reports: the newest wins, seldom enough, and never in the way."""

from __future__ import annotations

import io
import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sro_api.run_config import RunConfig
from sro_api.status import EvaluationFigures, EvaluationStatus, OutputStatus, ProgressStatus
from sro_trainer.progress import (
    ClusterReporter,
    LogReporter,
    SilentReporter,
    TerminalReporter,
    build_reporter,
    completion_message,
)


def progress(step: int, stage: Any = "Training", **fields: Any) -> ProgressStatus:
    values: dict[str, Any] = {
        "attempt": 1,
        "total_steps": 50,
        "percent": step * 2,
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return ProgressStatus(step=step, stage=stage, **(values | fields))


def config_of(*, report_to_cluster: bool = False, warm_start: bool = True) -> RunConfig:
    spec: dict[str, Any] = {
        "leader": {"model": "file:m", **({"warmStart": {"steps": 100}} if warm_start else {})},
        "data": {"toxic": {"uri": "file:t.txt"}, "neutral": {"uri": "file:n.txt"}},
        "output": {"uri": "file:out"},
    }
    values = {"name": "job", "spec": spec, "inputs": "/in", "outputs": "/out", "reportToCluster": report_to_cluster}
    return RunConfig.model_validate(values)


class Wire:
    """Receives reports; holds the first one back until it is told to go on."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.sent: list[int] = []
        self.started, self.released = threading.Event(), threading.Event()
        self._error = error

    def __call__(self, report: ProgressStatus) -> None:
        self.started.set()
        assert self.released.wait(10)
        self.sent.append(report.step)
        if self._error is not None:
            raise self._error


def test_reports_made_while_one_is_sent_are_replaced_by_the_newest() -> None:
    wire = Wire()
    reporter = ClusterReporter(wire, SilentReporter(), interval_seconds=0)
    reporter.report(progress(1))
    assert wire.started.wait(10)
    for step in (2, 3, 4):
        reporter.report(progress(step))
    wire.released.set()
    reporter.close()
    assert wire.sent == [1, 4]


def test_the_last_report_is_sent_at_the_end_without_waiting_for_the_interval() -> None:
    wire = Wire()
    wire.released.set()
    reporter = ClusterReporter(wire, SilentReporter(), interval_seconds=3600)
    reporter.report(progress(1))
    assert wire.started.wait(10)
    reporter.report(progress(2))
    reporter.close()
    assert wire.sent[-1] == 2


def test_nothing_is_sent_within_the_interval() -> None:
    wire = Wire()
    wire.released.set()
    reporter = ClusterReporter(wire, SilentReporter(), interval_seconds=3600)
    for step in range(1, 40):
        reporter.report(progress(step))
    reporter.close()
    assert len(wire.sent) <= 2
    assert wire.sent[-1] == 39


def test_closing_without_any_report_sends_nothing() -> None:
    wire = Wire()
    ClusterReporter(wire, SilentReporter()).close()
    assert wire.sent == []


@pytest.mark.parametrize("error", [OSError("no route"), PermissionError("403 Forbidden: no"), ValueError("bad port")])
def test_a_failing_api_server_gets_one_warning_and_stops_nothing(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    wire = Wire(error=error)
    wire.released.set()
    with caplog.at_level(logging.WARNING):
        reporter = ClusterReporter(wire, SilentReporter(), interval_seconds=0)
        for step in (1, 2):
            wire.started.clear()
            reporter.report(progress(step))
            assert wire.started.wait(10)
        reporter.close()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == ["progress was not reported"]
    assert warnings[0].__dict__["error"] == str(error)


def test_the_log_has_one_line_per_interval_and_per_change_of_stage(caplog: pytest.LogCaptureFixture) -> None:
    clock = iter([0.0, 1.0, 31.0, 31.0, 32.0])
    reporter = LogReporter(now=lambda: next(clock))
    with caplog.at_level(logging.INFO):
        reporter.report(progress(1))  # a new stage: logged at 0
        reporter.report(progress(2))  # asked at 1: too soon
        reporter.report(progress(3))  # asked and logged at 31
        reporter.report(progress(4, "Saving"))  # a new stage: logged at 32
    assert [(record.__dict__["stage"], record.__dict__["step"]) for record in caplog.records] == [
        ("Training", 1),
        ("Training", 3),
        ("Saving", 4),
    ]


def test_the_bar_counts_warm_start_and_game_together() -> None:
    stream = io.StringIO()
    reporter = TerminalReporter(config_of(), Console(file=stream, force_terminal=True, width=140))
    reporter.report(progress(0, "WarmStart", warm_start_step=40))
    reporter.report(progress(25, loss=0.693, pass_rate=0.5))
    reporter.close()
    assert "125/150" in stream.getvalue()
    assert "loss 0.693  pass 0.500" in stream.getvalue()


def test_only_rank_0_says_anything() -> None:
    assert isinstance(build_reporter(config_of(report_to_cluster=True), is_main=False), SilentReporter)


def test_a_run_outside_a_pod_reports_to_the_log_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(build_reporter(config_of(report_to_cluster=True), is_main=True), LogReporter)
    assert "KUBERNETES_SERVICE_HOST is not set" in caplog.text


def test_a_run_in_a_pod_reports_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setattr("sys.stderr", io.StringIO())
    reporter = build_reporter(config_of(report_to_cluster=True), is_main=True)
    reporter.close()
    assert isinstance(reporter, ClusterReporter)


def test_the_completion_message_carries_figures_and_output_within_the_kubelets_limit(tmp_path: Path) -> None:
    third = 1 / 3
    figures = EvaluationFigures(
        rows=1_000_000,
        pass_rate=third,
        held_out_pass_rate=third,
        similarity=-third,
        fluency=third,
        joint=-third,
        style_similarity=-third,
        copy_rate=third,
        empty_rate=third,
        length_ratio=third,
        novelty=third,
        screener_agreement=third,
    )
    evaluation = EvaluationStatus(untrained=figures, before=figures, after=figures)
    output = OutputStatus(uri="file:" + "x" * 507, model="file:" + "y" * 507)
    message = completion_message(evaluation, output)
    read = json.loads(message)
    assert len(message.encode()) <= 4096
    assert read["reason"] == "TrainingComplete"
    assert EvaluationStatus.model_validate(read["evaluation"]).after == figures.model_copy(
        update={name: round(value, 6) for name, value in figures.model_dump().items()}
    )
    assert OutputStatus.model_validate(read["output"]) == output
