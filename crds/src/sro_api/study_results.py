"""What is kept of a cell that ran on a cluster: written by the operator's distribution, read by the trainer's report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from sro_api.base import ApiModel
from sro_api.status import EvaluationStatus

JOB_FILE = "job.json"


class JobRecord(ApiModel):
    """What an SROJob's status said of a cell."""

    phase: Annotated[str, Field(max_length=64)]
    """The job's; empty while it has none; Refused where the API server did not take it."""
    message: Annotated[str, Field(max_length=32_768)] = ""
    evaluation: EvaluationStatus | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    """From the job's start to its completion."""

    def write(self, folder: Path) -> None:
        """Write it into a cell's folder, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        staging = folder / f".{JOB_FILE}.{os.getpid()}"
        staging.write_text(self.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n", encoding="utf-8")
        os.replace(staging, folder / JOB_FILE)

    @classmethod
    def read(cls, folder: Path) -> JobRecord | None:
        """Read it; None if the cell did not run on a cluster."""
        try:
            return cls.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError):
            return None
