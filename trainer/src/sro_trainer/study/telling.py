"""What a person sees while a study runs: one line when a cell starts and ends, and on a terminal one that moves for each."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from rich.status import Status

from sro_trainer import report
from sro_trainer.console import terminal
from sro_trainer.local_run import LocalRun
from sro_trainer.study.outcomes import Outcome

_TAIL_BYTES = 8192


class Teller:
    """Prints to standard error; cells that run side by side tell it from threads of their own."""

    def __init__(self, study: str, cells: int, *, at_once: int = 1) -> None:
        self._study = study
        self._cells = cells
        self._at_once = at_once
        self._todo = 0
        self._number = 0
        self._seconds: list[float] = []
        self._status: Status | None = None
        self._running: dict[str, str] = {}
        """Cell to where it is."""
        self._telling = threading.RLock()

    def begin(self, seconds: list[float | None], *, todo: int) -> None:
        """Say what there is to do.

        Args:
            seconds: that the finished cells took, where it is known.
            todo: cells that are to run.
        """
        self._todo, self._number = todo, self._cells - todo
        self._seconds = [value for value in seconds if value]
        self._say(
            f"study {self._study}: {self._cells} cells, {self._cells - todo} of them done or failed, {todo} to run"
        )

    def started(self, cell: str, planned: LocalRun) -> None:
        """A cell starts, or goes on."""
        how = "goes on" if planned.state == "unfinished" else "starts"
        with self._telling:
            self._number += 1
            self._say(f"[{self._number}/{self._cells}] {cell} {how}{self._left()}")
            self._show(cell, "starting")

    def tick(self, cell: str, folder: Path) -> None:
        """Show where a running cell is; on a terminal alone."""
        if terminal().is_terminal:
            with self._telling:
                self._show(cell, last_step(folder))

    def ended(self, cell: str, outcome: Outcome, folder: Path) -> None:
        """A cell ended."""
        with self._telling:
            self._show(cell, None)
            self._end(cell, outcome, folder)

    def _end(self, cell: str, outcome: Outcome, folder: Path) -> None:
        if outcome.state != "Unfinished":
            self._todo -= 1
        if outcome.state == "Finished":
            self._seconds.append(outcome.seconds)
            self._say(f"{cell} finished in {outcome.seconds:.0f} s{_figures(folder)}{self._left()}")
        elif outcome.state == "Failed":
            self._say(f"{cell} FAILED after {outcome.seconds:.0f} s: {outcome.reason}: {outcome.message}")
        else:
            self._say(f"{cell} stopped after a checkpoint; the same command goes on from it")

    def _show(self, cell: str, where: str | None) -> None:
        """The line that moves: where a cell is, or that it runs no more."""
        if where is None:
            self._running.pop(cell, None)
        else:
            self._running[cell] = where
        if self._status is not None and not self._running:
            self._status.stop()
            self._status = None
        if self._running and terminal().is_terminal:
            text = "\n".join(f"{name}: {place}" for name, place in self._running.items())
            if self._status is None:
                self._status = terminal().status(text)
                self._status.start()
            self._status.update(text)

    def _left(self) -> str:
        if not self._seconds or not self._todo:
            return ""
        rounds = -(-self._todo // self._at_once)
        return f"; about {duration(rounds * sum(self._seconds) / len(self._seconds))} left for {self._todo} cells"

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
