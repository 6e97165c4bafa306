"""What a person sees while a study runs: one line when a cell starts and ends, and on a terminal one that moves."""

from __future__ import annotations

import json
from pathlib import Path

from rich.status import Status

from sro_trainer import report
from sro_trainer.console import terminal
from sro_trainer.local_run import LocalRun
from sro_trainer.study.outcomes import Outcome

_TAIL_BYTES = 8192


class Teller:
    """Prints to standard error."""

    def __init__(self, study: str, cells: int) -> None:
        self._study = study
        self._cells = cells
        self._todo = 0
        self._seconds: list[float] = []
        self._status: Status | None = None
        self._now = ""

    def begin(self, seconds: list[float | None], *, todo: int) -> None:
        """Say what there is to do.

        Args:
            seconds: that the finished cells took, where it is known.
            todo: cells that are to run.
        """
        self._todo = todo
        self._seconds = [value for value in seconds if value]
        self._say(
            f"study {self._study}: {self._cells} cells, {self._cells - todo} of them done or failed, {todo} to run"
        )

    def started(self, cell: str, planned: LocalRun) -> None:
        """A cell starts, or goes on."""
        how = "goes on" if planned.state == "unfinished" else "starts"
        self._now = cell
        self._say(f"[{self._cells - self._todo + 1}/{self._cells}] {cell} {how}{self._left()}")
        if terminal().is_terminal:
            self._status = terminal().status(cell)
            self._status.start()

    def tick(self, folder: Path) -> None:
        """Show where the running cell is; on a terminal alone."""
        if self._status is not None:
            self._status.update(f"{self._now}: {last_step(folder)}")

    def ended(self, cell: str, outcome: Outcome, folder: Path) -> None:
        """A cell ended."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        if outcome.state != "Unfinished":
            self._todo -= 1
        if outcome.state == "Finished":
            self._seconds.append(outcome.seconds)
            self._say(f"{cell} finished in {outcome.seconds:.0f} s{_figures(folder)}{self._left()}")
        elif outcome.state == "Failed":
            self._say(f"{cell} FAILED after {outcome.seconds:.0f} s: {outcome.reason}: {outcome.message}")
        else:
            self._say(f"{cell} stopped after a checkpoint; the same command goes on from it")

    def _left(self) -> str:
        if not self._seconds or not self._todo:
            return ""
        return f"; about {duration(self._todo * sum(self._seconds) / len(self._seconds))} left for {self._todo} cells"

    def _say(self, line: str) -> None:
        terminal().print(line, markup=False, highlight=False, soft_wrap=True)


def last_step(folder: Path) -> str:
    """The newest row of a cell's metrics in words."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return "starting"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        shown = {"loss": row.get("loss"), "pass rate": row.get("pass_rate")}
        figures = ", ".join(f"{name} {value:.3f}" for name, value in shown.items() if isinstance(value, float))
        return f"{row.get('stage', '')} step {row.get('step')}, {figures}"
    return "starting"


def duration(seconds: float) -> str:
    """A duration as `2h05m`, `3m20s` or `12s`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _figures(folder: Path) -> str:
    try:
        after = report.RunReport.read(folder).evaluation.after
    except (OSError, ValueError):
        return ""
    return f", J {after.joint:.3f}" if after is not None and after.joint is not None else ""
