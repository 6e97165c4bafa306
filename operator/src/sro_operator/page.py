"""The page that `sro status` prints. Pure: a job and the time in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sro_api.status import EvaluationFigures, EvaluationStatus, ProgressStatus, SROJobStatus
from sro_api.v1alpha1 import SROJob

BAR_WIDTH = 24


def status_page(job: SROJob, now: datetime) -> str:
    """Everything that is known of a job, to be read by a person.

    Args:
        job: with the status on record.
        now: for ages.
    """
    status = job.status
    blocks = [
        _head(job, now),
        _progress(status.progress),
        _table("Conditions", _conditions(status, now)),
        _table("Attempts", _attempts(status)),
        _table("Evaluation", _evaluation(status.evaluation)),
        _output(status),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def progress_bar(percent: int) -> str:
    """`[######------]` and the percentage."""
    done = BAR_WIDTH * percent // 100
    return f"[{'#' * done}{'-' * (BAR_WIDTH - done)}] {percent:3d} %"


def duration(seconds: float) -> str:
    """A duration in its two largest units, as `1h02m`, `3m05s` or `7s`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def _head(job: SROJob, now: datetime) -> str:
    status, policy = job.status, job.spec.run_policy
    lines = [f"Name:      {job.name}", f"Namespace: {job.namespace}"]
    message = next((entry.message for entry in status.conditions if entry.type == status.phase and entry.message), "")
    lines.append(f"Phase:     {status.phase or 'Unknown'}{f', {message}' if message else ''}")
    if status.start_time is not None:
        end = status.completion_time or now
        lines.append(
            f"Time:      {duration((end - status.start_time).total_seconds())} since {_stamp(status.start_time)}"
        )
    if status.attempt is not None:
        lines.append(f"Attempt:   {status.attempt} ({status.restarts or 0} of {policy.max_restarts} restarts used)")
    return "\n".join(lines)


def _progress(progress: ProgressStatus | None) -> str:
    if progress is None:
        return ""
    left = f", about {duration(progress.seconds_left)} left" if progress.seconds_left is not None else ""
    first = f"Progress:  {progress_bar(progress.percent)}  {progress.stage}, step {progress.step} of {progress.total_steps}{left}"
    figures = {
        "loss": progress.loss,
        "pass rate": progress.pass_rate,
        "held-out pass rate": progress.held_out_pass_rate,
        "similarity": progress.similarity,
        "KL": progress.kl,
        "samples/s": progress.samples_per_second,
    }
    shown = [f"{name} {value:.3f}" for name, value in figures.items() if value is not None]
    if progress.last_checkpoint_step is not None:
        shown.append(f"checkpoint at step {progress.last_checkpoint_step}")
    return first + (f"\n           {', '.join(shown)}" if shown else "")


def _conditions(status: SROJobStatus, now: datetime) -> list[Sequence[str]]:
    rows = [
        (entry.type, entry.status, entry.reason, duration((now - entry.last_transition_time).total_seconds()))
        for entry in status.conditions
    ]
    return [("TYPE", "STATUS", "REASON", "FOR"), *rows] if rows else []


def _attempts(status: SROJobStatus) -> list[Sequence[str]]:
    rows = []
    for attempt in status.attempts:
        took = duration((attempt.end_time - attempt.start_time).total_seconds()) if attempt.end_time else "-"
        exits = ", ".join(f"{entry.index}: {entry.exit_code} {entry.reason or ''}".strip() for entry in attempt.exits)
        end = attempt.reason or "-"
        rows.append(
            (str(attempt.number), _stamp(attempt.start_time), took, str(attempt.resumed_from_step), end, exits or "-")
        )
    return [("NUMBER", "STARTED", "TOOK", "FROM STEP", "END", "EXIT CODES"), *rows] if rows else []


def _evaluation(evaluation: EvaluationStatus | None) -> list[Sequence[str]]:
    if evaluation is None:
        return []
    named = {"untrained": evaluation.untrained, "before": evaluation.before, "after": evaluation.after}
    rows = [_figures(name, figures) for name, figures in named.items() if figures is not None]
    head = ("", "ROWS", "PASS RATE", "STA", "SIM", "FL", "J", "COPIES", "EMPTY")
    return [head, *rows] if rows else []


def _figures(name: str, figures: EvaluationFigures) -> Sequence[str]:
    shares = (figures.pass_rate, figures.held_out_pass_rate, figures.similarity, figures.fluency, figures.joint)
    rest = (figures.copy_rate, figures.empty_rate)
    return (name, str(figures.rows), *("-" if value is None else f"{value:.3f}" for value in (*shares, *rest)))


def _output(status: SROJobStatus) -> str:
    if status.output is None:
        return ""
    model = f"\nModel:     {status.output.model}" if status.output.model else ""
    return f"Output:    {status.output.uri}{model}"


def _table(title: str, rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
