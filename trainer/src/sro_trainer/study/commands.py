"""`sro study FILE --report` and `--list`: what there is, without running anything."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from sro_api.exit_codes import ExitCode
from sro_api.study_cli import StudyRequest
from sro_trainer.study.outcomes import state_of
from sro_trainer.study.report import write_report
from sro_trainer.study.runner import root_of


def report(request: StudyRequest, *, only_list: bool = False) -> int:
    """Print the report, or the states of the cells; 0."""
    root = root_of(request)
    if only_list:
        console = Console()
        (console if console.is_terminal else Console(width=200)).print(_list(request))
    else:
        write_report(request, root, sys.stdout)
    return ExitCode.COMPLETE


def _list(request: StudyRequest) -> Table:
    root = root_of(request)
    table = Table(title=f"{len(request.cells)} cells of study {request.file.study.name} in {root}")
    for heading in ("cell", "state", "seconds", "reason"):
        table.add_column(heading, no_wrap=heading == "cell")
    for cell in request.cells:
        if cell.name in request.wanted:
            state = state_of(cell, root)
            took = "" if state.seconds is None else f"{state.seconds:.0f}"
            table.add_row(cell.name, state.state, took, state.message if state.state == "Failed" else "")
    return table
