"""Runs the cells of a study as SROJobs: creates, watches, keeps what they report. Behind a port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sro_api.base import Manifest
from sro_api.exit_codes import ExitCode
from sro_api.study_cells import Cell
from sro_api.study_cli import StudyRequest
from sro_api.study_results import JobRecord
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.kinds import SRO_JOB, Kind
from sro_operator.parsing import parse_job
from sro_operator.study.plan import REFUSED, is_failed, is_final, is_same, next_step, record_of

POLL_SECONDS = 5.0


class StudyPort(Protocol):
    """What a study needs of a cluster. Every method raises ApiError when its request fails."""

    async def study_jobs(self, namespace: str, study: str) -> list[Manifest]:
        """The SROJobs that are cells of a study."""

    async def create_sro_job(self, manifest: Manifest) -> Manifest:
        """Create an SROJob; a conflict (409) if one of its name is there."""

    async def delete(
        self, kind: Kind, key: Key, *, uid: str | None = None, resource_version: str | None = None
    ) -> Manifest | None:
        """Delete one object; no error if it is gone."""


class AnotherJobError(RuntimeError):
    """A job of a cell's name is there and is not that cell; the message names it."""


@dataclass(kw_only=True)
class ClusterStudy:
    """One start of `sro study --cluster`."""

    request: StudyRequest
    cluster: StudyPort
    namespace: str
    records: Path
    """The study's folder on this machine."""
    tell: Callable[[str], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    known: dict[str, JobRecord] = field(default_factory=dict)
    """What was last seen of each cell that exists or was refused."""
    created: int = 0

    async def run(self) -> int:
        """Go on until every wanted cell has ended, or time or number are over; the exit code."""
        cells = [cell for cell in self.request.cells if cell.name in self.request.wanted]
        began = time.monotonic()
        await self._begin(cells)
        while True:
            try:
                await self._look(cells)
                left = None if self.request.limit is None else self.request.limit - self.created
                step = next_step(cells, self.known, concurrency=self.request.concurrency or 1)
                for cell in step.create[:left]:
                    await self._create(cell)
                if step.is_over or (left == 0 and all(map(is_final, self.known.values()))):
                    return self._exit_code(cells)
            except ApiError as error:
                if error.is_refusal:
                    raise
                self.tell(f"the API server does not answer, trying again: {error}")
            if self.request.until_seconds is not None and time.monotonic() - began >= self.request.until_seconds:
                self.tell("time is over; the jobs go on, and the same command watches them again")
                return ExitCode.TERMINATED
            await self.sleep(POLL_SECONDS)

    async def _begin(self, cells: list[Cell]) -> None:
        await self._look(cells)
        if self.request.again:
            for name in [name for name, record in self.known.items() if is_failed(record)]:
                await self.cluster.delete(SRO_JOB, Key(namespace=self.namespace, name=name))
                del self.known[name]
                self.tell(f"{name} is tried again")
        there = len(self.known)
        self.tell(
            f"study {self.request.file.study.name}: {len(cells)} cells, {there} of them there, in namespace {self.namespace}"
        )

    async def _look(self, cells: list[Cell]) -> None:
        """Take in what the cells' jobs say."""
        jobs = await self.cluster.study_jobs(self.namespace, self.request.file.study.name)
        found = {str(manifest["metadata"]["name"]): manifest for manifest in jobs}
        for cell in cells:
            if cell.name in found:
                job = parse_job(found[cell.name])
                if not is_same(job, cell):
                    raise AnotherJobError(f"SROJob {cell.name!r} in namespace {self.namespace!r} has another specification than "
                                          f"the study; `kubectl delete sro {cell.name}`, or name the study otherwise")  # fmt: skip
                self._take(cell, record_of(job))
            elif (record := self.known.get(cell.name)) is not None and record.phase != REFUSED:
                # Deleted by somebody, or by its time to live: what it reported stands if it had ended.
                if not is_final(record):
                    self.tell(f"{cell.name} was deleted before it ended; it is created again")
                    del self.known[cell.name]
            elif (
                record is None and (kept := JobRecord.read(self._folder(cell))) is not None and kept.phase == "Complete"
            ):
                self.known[cell.name] = kept

    def _take(self, cell: Cell, record: JobRecord) -> None:
        before = self.known.get(cell.name)
        self.known[cell.name] = record
        if before != record:
            record.write(self._folder(cell))
        if before is None or before.phase != record.phase:
            after = record.evaluation.after if record.evaluation else None
            joint = f", J {after.joint:.3f}" if after is not None and after.joint is not None else ""
            why = f": {record.message}" if is_failed(record) else ""
            self.tell(f"{cell.name} is {record.phase or 'new'}{joint}{why}")

    async def _create(self, cell: Cell) -> None:
        metadata = {**cell.manifest["metadata"], "namespace": self.namespace}
        try:
            await self.cluster.create_sro_job({**cell.manifest, "metadata": metadata})
        except ApiError as error:
            if error.is_conflict:
                raise AnotherJobError(
                    f"SROJob {cell.name!r} in namespace {self.namespace!r} is there and is no cell of this study; "
                    f"`kubectl delete sro {cell.name}`, or name the study otherwise"
                ) from error
            if not error.is_refusal:
                raise
            self._take(cell, JobRecord(phase=REFUSED, message=error.message))
        else:
            self.created += 1
            self._take(cell, JobRecord(phase=""))

    def _folder(self, cell: Cell) -> Path:
        return self.records / "cells" / cell.name

    def _exit_code(self, cells: list[Cell]) -> int:
        records = [self.known.get(cell.name) for cell in cells]
        if any(record is not None and is_failed(record) for record in records):
            return 1
        return ExitCode.COMPLETE if all(records) else ExitCode.TERMINATED
