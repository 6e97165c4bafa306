"""What became of each cell, kept beside its results so that the same study goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from sro_api.base import ApiModel
from sro_api.exit_codes import ExitCode
from sro_api.run_config import FILE_NAME, RunConfig
from sro_api.study_cells import Cell
from sro_api.study_results import JobRecord
from sro_api.v1alpha1 import SROJob
from sro_trainer import report

OUTCOME_FILE = "outcome.json"
LOG_FILE = "trainer.log"
REASON_TIME_LIMIT = "TimeLimit"
REASON_REFUSED = "Refused"
REASON_OTHER = "OtherSpecification"
"""What lies in the cell's folder is the result of another job, as after a change of the study file."""

State = Literal["Waiting", "Unfinished", "Finished", "Failed"]


class Outcome(ApiModel):
    """How the last try of a cell ended."""

    state: Literal["Unfinished", "Finished", "Failed"]
    """Unfinished: it was stopped after a checkpoint and goes on from there."""
    exit_code: Annotated[int, Field(ge=0, le=255)] = 0
    reason: Annotated[str, Field(max_length=128)] = ""
    message: Annotated[str, Field(max_length=4096)] = ""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    """Over the tries of a cell that went on from its checkpoint."""
    tries: Annotated[int, Field(ge=1)] = 1

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        staging = folder / f".{OUTCOME_FILE}.{os.getpid()}"
        staging.write_text(self.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
        os.replace(staging, folder / OUTCOME_FILE)

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """Read it; None if there is none, or what is there was cut short."""
        try:
            return cls.model_validate_json((folder / OUTCOME_FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError):
            return None


class CellState(ApiModel):
    """Where a cell stands, whoever ran it."""

    state: State
    reason: str = ""
    message: str = ""
    seconds: float | None = None


def state_of(cell: Cell, root: Path) -> CellState:
    """Where a cell stands.

    Args:
        cell: of the study as it is now.
        root: the study's folder.
    """
    folder = folder_of(cell, root)
    if not _is_of(cell, folder):
        return CellState(
            state="Failed",
            reason=REASON_OTHER,
            message=f"{folder} holds a run of another specification: --fresh starts it over",
        )
    outcome = Outcome.read(folder)
    seconds = outcome.seconds if outcome else None
    if (folder / report.FILE_NAME).is_file():
        return CellState(state="Finished", seconds=seconds)
    if outcome is not None and outcome.state != "Finished":
        return CellState(state=outcome.state, reason=outcome.reason, message=outcome.message, seconds=seconds)
    if record := JobRecord.read(folder):
        return _state_of_job(record)
    return CellState(state="Unfinished" if (folder / FILE_NAME).is_file() else "Waiting")


def _is_of(cell: Cell, folder: Path) -> bool:
    """Whether the run in a cell's folder is that of its manifest; also where there is none."""
    try:
        found = RunConfig.load(folder / FILE_NAME)
    except FileNotFoundError:
        return True
    except ValidationError:
        return False
    return found.name == cell.name and found.spec == SROJob.model_validate(cell.manifest).spec


def _state_of_job(record: JobRecord) -> CellState:
    states: dict[str, State] = {"Complete": "Finished", "Failed": "Failed", "Refused": "Failed"}
    return CellState(
        state=states.get(record.phase, "Unfinished"),
        reason=record.phase,
        message=record.message,
        seconds=record.seconds,
    )


def folder_of(cell: Cell, root: Path) -> Path:
    """A cell's output folder below the study's."""
    return root / "cells" / cell.name


def exit_message(code: int) -> str:
    """An exit code in words."""
    names = {entry.value: entry.name for entry in ExitCode}
    if code > 128:
        return f"killed by signal {code - 128}"
    return f"exit code {code}{f' ({names[code]})' if code in names else ''}"
