"""Progress of a run, told to the cluster, to a terminal or to a log; never in the way of training."""

from __future__ import annotations

import http.client
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sro_api import labels
from sro_api.run_config import RunConfig
from sro_api.status import EvaluationFigures, EvaluationStatus, OutputStatus, ProgressStatus
from sro_trainer.cluster_api import ApiServer, apply_progress
from sro_trainer.console import terminal

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
"""The API server hears from a job at most this often."""
FLUSH_SECONDS = 15.0
"""How long `close` waits for the last report."""
LOG_SECONDS = 30.0
"""Without a terminal, one line at most this often, and one per change of stage."""
MESSAGE_LIMIT = 4096
"""Bytes of a termination message that the kubelet keeps."""


class Reporter(Protocol):
    """Told everything by rank 0; tells it to whoever watches the run."""

    def report(self, progress: ProgressStatus) -> None:
        """Say where the run is. Returns at once and raises nothing."""
        ...

    def evaluation(self, evaluation: EvaluationStatus) -> None:
        """Say what was measured so far."""
        ...

    def output(self, output: OutputStatus) -> None:
        """Say what was written."""
        ...

    def close(self) -> None:
        """Deliver the last report, within a bounded time."""
        ...


def build_reporter(config: RunConfig, *, is_main: bool) -> Reporter:
    """The reporter for this process: to the cluster, to the terminal, or to the log; silent on all ranks but 0."""
    if not is_main:
        return SilentReporter()
    local: Reporter = TerminalReporter(config) if sys.stderr.isatty() else LogReporter()
    if not config.report_to_cluster:
        return local
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if host is None:
        logger.warning("progress is not reported: KUBERNETES_SERVICE_HOST is not set, so this is no pod")
        return local
    server = ApiServer(host=host, port=int(os.environ.get("KUBERNETES_SERVICE_PORT", "443")))
    return ClusterReporter(lambda progress: apply_progress(server, config, progress), local)


def completion_message(evaluation: EvaluationStatus, output: OutputStatus) -> str:
    """The termination message of a run that succeeded: what the operator copies into the job's status.

    At most 4096 bytes: figures are rounded to 6 digits, which keeps it below 2 kB with the longest URIs in ASCII.
    """
    message = json.dumps(
        {
            "reason": labels.REASON_TRAINED,
            "message": _headline(evaluation),
            "evaluation": _rounded(evaluation).to_wire(),
            "output": output.to_wire(),
        }
    )
    assert len(message.encode()) <= MESSAGE_LIMIT
    return message


class SilentReporter:
    """Says nothing: for every rank but 0."""

    def report(self, progress: ProgressStatus) -> None:
        """Nothing."""

    def evaluation(self, evaluation: EvaluationStatus) -> None:
        """Nothing."""

    def output(self, output: OutputStatus) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class LogReporter:
    """One log line at each change of stage and every `LOG_SECONDS` between."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last_stage: str | None = None
        self._last_time = 0.0

    def report(self, progress: ProgressStatus) -> None:
        """Log the figures, unless the last line is recent and of the same stage."""
        if progress.stage == self._last_stage and self._now() - self._last_time < LOG_SECONDS:
            return
        self._last_stage, self._last_time = progress.stage, self._now()
        logger.info("progress", extra=_fields(progress))

    def evaluation(self, evaluation: EvaluationStatus) -> None:
        """Log the figures of the newest evaluation."""
        logger.info("evaluated", extra=evaluation.to_wire())

    def output(self, output: OutputStatus) -> None:
        """Log where the output lies."""
        logger.info("output written", extra=output.to_wire())

    def close(self) -> None:
        """Nothing is held back."""


class TerminalReporter:
    """A progress bar over warm start and game, with the newest figures beside it."""

    def __init__(self, config: RunConfig, console: Console | None = None) -> None:
        warm_start = config.spec.leader.warm_start
        self._warm_start_steps = warm_start.steps if warm_start else 0
        self._log = LogReporter()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or terminal(),
        )
        self._task = self._bar.add_task("Starting", total=None, figures="")
        self._bar.start()

    def report(self, progress: ProgressStatus) -> None:
        """Move the bar. In the game the warm start is over, whether it ran in this attempt or an earlier one."""
        in_warm_start = progress.stage == "WarmStart"
        done = (progress.warm_start_step or 0) if in_warm_start else self._warm_start_steps + progress.step
        if progress.stage == "Starting":
            done = 0
        self._bar.update(
            self._task,
            description=progress.stage,
            completed=done,
            total=self._warm_start_steps + progress.total_steps,
            figures=_figures(progress),
        )

    def evaluation(self, evaluation: EvaluationStatus) -> None:
        """Print the newest figures above the bar."""
        self._log.evaluation(evaluation)

    def output(self, output: OutputStatus) -> None:
        """Print where the output lies."""
        self._log.output(output)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


class ClusterReporter:
    """Sends the newest report from a thread of its own, at most one every `INTERVAL_SECONDS`.

    A report that cannot be sent is dropped with one warning; the next one that can be makes up for it.
    """

    def __init__(
        self, send: Callable[[ProgressStatus], None], local: Reporter, *, interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._send = send
        self._local = local
        self._interval = interval_seconds
        self._changed = threading.Condition()
        self._newest: ProgressStatus | None = None
        self._closing = False
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def report(self, progress: ProgressStatus) -> None:
        """Replace what has not been sent yet."""
        self._local.report(progress)
        with self._changed:
            self._newest = progress
            self._changed.notify_all()

    def evaluation(self, evaluation: EvaluationStatus) -> None:
        """Log it; the operator learns it from the termination message."""
        self._local.evaluation(evaluation)

    def output(self, output: OutputStatus) -> None:
        """Log it; the operator learns it from the termination message."""
        self._local.output(output)

    def close(self) -> None:
        """Send what is newest without waiting for the interval, for at most `FLUSH_SECONDS`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(FLUSH_SECONDS)
        self._local.close()

    def _run(self) -> None:
        while (progress := self._next()) is not None:
            self._send_once(progress)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, timeout=self._interval)

    def _next(self) -> ProgressStatus | None:
        """The newest unsent report, waited for; None once closed with nothing left."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._newest is not None)
            progress, self._newest = self._newest, None
            return progress

    def _send_once(self, progress: ProgressStatus) -> None:
        try:
            self._send(progress)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Said once: a cluster whose API server is down for an hour is no reason for 720 lines.
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            logger.log(level, "progress was not reported", extra={"error": str(error), "step": progress.step})
        else:
            self._warned = False


def _fields(progress: ProgressStatus) -> dict[str, object]:
    return {key: value for key, value in progress.to_wire().items() if key not in ("history", "updatedAt")}


def _figures(progress: ProgressStatus) -> str:
    named = {"loss": progress.loss, "pass": progress.pass_rate, "similarity": progress.similarity}
    return "  ".join(f"{name} {value:.3f}" for name, value in named.items() if value is not None)


def _headline(evaluation: EvaluationStatus) -> str:
    before, after = evaluation.before, evaluation.after
    if before is None or after is None:
        return "trained to the last step"
    return f"trained to the last step; pass rate {before.pass_rate:.3f} before, {after.pass_rate:.3f} after"


def _rounded(evaluation: EvaluationStatus) -> EvaluationStatus:
    def rounded(figures: EvaluationFigures | None) -> EvaluationFigures | None:
        if figures is None:
            return None
        values = figures.model_dump()
        return EvaluationFigures(
            **{key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()}
        )

    return EvaluationStatus(
        untrained=rounded(evaluation.untrained), before=rounded(evaluation.before), after=rounded(evaluation.after)
    )
