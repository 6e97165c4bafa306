"""Which cells of a study are to be created now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sro_api.labels import COMPLETE, FAILED, FINAL_PHASES
from sro_api.study_cells import Cell
from sro_api.study_results import JobRecord
from sro_api.v1alpha1 import SROJob

REFUSED = "Refused"
"""In the place of a phase: the API server did not take the job."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What to do next."""

    create: tuple[Cell, ...] = ()
    is_over: bool = False
    """Nothing runs, and nothing more is to be created."""


def next_step(cells: Sequence[Cell], records: Mapping[str, JobRecord], *, concurrency: int) -> Step:
    """What to create, given what is known of each cell.

    Args:
        cells: those that are wanted, in their order, a shared warm start first.
        records: of the cells that exist or were refused, by name.
        concurrency: how many jobs may run at once.
    """
    running = sum(not is_final(record) for record in records.values())
    waiting = [cell for cell in cells if cell.name not in records]
    for cell in cells:
        if cell.is_warm_start and phase_of(records.get(cell.name)) != COMPLETE:
            # The others would find nothing to load.
            waiting = [cell] if cell.name not in records else []
    create = tuple(waiting[: max(0, concurrency - running)])
    return Step(create=create, is_over=not create and running == 0)


def record_of(job: SROJob) -> JobRecord:
    """What is kept of a job's status."""
    status = job.status
    message = next((entry.message for entry in status.conditions if entry.type == status.phase), "")
    ends = (status.start_time, status.completion_time)
    seconds = (ends[1] - ends[0]).total_seconds() if ends[0] and ends[1] else None
    return JobRecord(phase=status.phase or "", message=message, evaluation=status.evaluation, seconds=seconds)


def is_same(job: SROJob, cell: Cell) -> bool:
    """Whether a job on the cluster is this cell, whatever its run policy has become since."""
    wanted = SROJob.model_validate(cell.manifest)
    policy = job.spec.run_policy
    return job.spec == wanted.spec.model_copy(update={"run_policy": policy})


def is_final(record: JobRecord) -> bool:
    """Whether nothing more will come of it."""
    return record.phase in FINAL_PHASES or record.phase == REFUSED


def phase_of(record: JobRecord | None) -> str:
    """The phase; empty where there is no job."""
    return record.phase if record is not None else ""


def is_failed(record: JobRecord) -> bool:
    """Whether it ended without a result."""
    return record.phase in (FAILED, REFUSED)
