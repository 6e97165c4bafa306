"""A study on a fake cluster: created, watched, adopted, and what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sro_api.base import Manifest
from sro_api.labels import KIND
from sro_api.study_cli import StudyRequest
from sro_api.study_file import load_study
from sro_api.study_results import JobRecord
from sro_operator.errors import ApiError
from sro_operator.study.runner import AnotherJobError, ClusterStudy
from sro_operator.testing import FakeCluster, VirtualClock

BASE = {
    "leader": {"model": "pvc://models/leader"},
    "data": {"toxic": {"uri": "pvc://data/toxic.txt"}, "neutral": {"uri": "pvc://data/neutral.txt"}},
}


class Site:
    """A study of two or three cells, a cluster, and somebody who plays it between two looks."""

    def __init__(
        self, folder: Path, *, include: tuple[str, ...] = ("a", "b"), concurrency: int = 1, **request: Any
    ) -> None:
        betas = {name: 0.1 * (place + 1) for place, name in enumerate(include)}
        spec = {
            "base": {"spec": BASE}, "output": {"uri": "pvc://results/t"},
            "include": [{"name": name, "patch": {"method": {"beta": beta}}} for name, beta in betas.items()],
        }  # fmt: skip
        file = folder / "study.yaml"
        file.write_text(yaml.safe_dump({"kind": "Study", "metadata": {"name": "t"}, "spec": spec}))
        loaded = load_study(file)
        cells = loaded.cells()
        self.records = folder / "records"
        self.request = StudyRequest(
            file=loaded, output="pvc://results/t", cells=cells, wanted=frozenset(cell.name for cell in cells),
            concurrency=concurrency, **request,
        )  # fmt: skip
        self.cluster = FakeCluster(VirtualClock())
        self.told: list[str] = []
        self.most_at_once = 0

    def run(self, between: Callable[[int], None]) -> int:
        looks = 0

        async def sleep(_seconds: float) -> None:
            nonlocal looks
            self.most_at_once = max(self.most_at_once, len(self.running()))
            between(looks)
            looks += 1
            assert looks < 50, self.told

        study = ClusterStudy(
            request=self.request,
            cluster=self.cluster,
            namespace="team",
            records=self.records,
            tell=self.told.append,
            sleep=sleep,
        )
        return asyncio.run(study.run())

    def jobs(self) -> dict[str, Manifest]:
        return {name: job for (kind, _, name), job in self.cluster.objects.items() if kind == KIND}

    def running(self) -> list[str]:
        phases = {name: job.get("status", {}).get("phase") for name, job in self.jobs().items()}
        return [name for name, phase in phases.items() if phase not in ("Complete", "Failed")]

    def finish(self, name: str, phase: str = "Complete", joint: float = 0.5) -> None:
        figures = {"rows": 4, "passRate": 1.0, "joint": joint, "copyRate": 0.0, "emptyRate": 0.0}
        self.cluster.set_status(KIND, name, {"phase": phase, "evaluation": {"after": figures}})

    def finish_all(self, _look: int) -> None:
        for name in self.running():
            self.finish(name)


def test_cells_are_created_with_the_studys_label_and_not_more_at_once_than_allowed(tmp_path: Path) -> None:
    site = Site(tmp_path, include=("a", "b", "c"), concurrency=2)
    assert site.run(site.finish_all) == 0
    assert list(site.jobs()) == ["t-a-s0", "t-b-s0", "t-c-s0"]
    assert site.most_at_once == 2
    assert {job["metadata"]["labels"]["sro.dev/study"] for job in site.jobs().values()} == {"t"}
    record = JobRecord.read(site.records / "cells" / "t-c-s0")
    assert record is not None
    assert record.evaluation is not None
    assert record.evaluation.after is not None
    assert (record.phase, record.evaluation.after.joint) == ("Complete", 0.5)
    assert "t-a-s0 is Complete, J 0.500" in site.told


def test_jobs_that_are_there_are_adopted(tmp_path: Path) -> None:
    site = Site(tmp_path, concurrency=2)
    with pytest.raises(KeyboardInterrupt):
        site.run(_interrupt)
    site.cluster.writes.clear()
    assert site.run(site.finish_all) == 0
    assert site.cluster.writes == []
    assert "study t: 2 cells, 2 of them there, in namespace team" in site.told


def test_a_finished_job_that_expired_is_not_made_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run(site.finish_all)
    del site.cluster.objects[(KIND, "team", "t-a-s0")]
    site.cluster.writes.clear()
    assert site.run(site.finish_all) == 0
    assert site.cluster.writes == []


def test_a_job_that_was_deleted_before_it_ended_is_made_again(tmp_path: Path) -> None:
    site = Site(tmp_path)

    def between(look: int) -> None:
        if look == 0:
            del site.cluster.objects[(KIND, "team", "t-a-s0")]
        else:
            site.finish_all(look)

    assert site.run(between) == 0
    assert site.cluster.writes.count("create SROJob t-a-s0") == 2


def test_a_failed_cell_ends_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    site = Site(tmp_path)

    def between(look: int) -> None:
        for name in site.running():
            site.finish(name, "Failed" if name == "t-a-s0" else "Complete")

    assert site.run(between) == 1
    again = Site(tmp_path, again=True)
    again.cluster = site.cluster
    assert again.run(again.finish_all) == 0
    assert "delete SROJob t-a-s0" in site.cluster.writes
    assert "delete SROJob t-b-s0" not in site.cluster.writes


def test_a_cell_that_the_api_server_refuses_is_recorded(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.cluster.failing("create SROJob", ApiError(403, "exceeded quota")):
        assert site.run(site.finish_all) == 1
    record = JobRecord.read(site.records / "cells" / "t-a-s0")
    assert record == JobRecord(phase="Refused", message="exceeded quota")


def test_an_api_server_that_is_away_is_asked_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    away = site.cluster.failing("create SROJob", ApiError(0, "no answer"))
    away.__enter__()

    def between(look: int) -> None:
        if look == 1:
            away.__exit__(None, None, None)
        site.finish_all(look)

    assert site.run(between) == 0
    assert "the API server does not answer, trying again: 0: no answer" in site.told


def test_a_job_of_the_same_name_with_another_specification_is_not_touched(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run(site.finish_all)
    other = Site(tmp_path, include=("b", "a"))
    other.cluster = site.cluster
    with pytest.raises(AnotherJobError, match="'t-b-s0' in namespace 'team' has another specification"):
        other.run(other.finish_all)


def test_a_job_of_the_same_name_without_the_label_is_not_touched(tmp_path: Path) -> None:
    site = Site(tmp_path)
    manifest = site.request.cells[0].manifest
    site.cluster.put({**manifest, "metadata": {"name": "t-a-s0", "namespace": "team"}})
    with pytest.raises(AnotherJobError, match="'t-a-s0' in namespace 'team' is there and is no cell of this study"):
        site.run(site.finish_all)


def test_a_limit_counts_what_is_created(tmp_path: Path) -> None:
    site = Site(tmp_path, limit=1)
    assert site.run(site.finish_all) == 76
    assert list(site.jobs()) == ["t-a-s0"]


def _interrupt(_look: int) -> None:
    raise KeyboardInterrupt
