"""Which cells of a study are created when."""

from __future__ import annotations

import pytest

from sro_api.study_cells import Cell
from sro_api.study_results import JobRecord
from sro_api.v1alpha1 import SROJob
from sro_operator.study.plan import is_same, next_step, record_of
from sro_operator.testing import make_job, make_manifest


def cell(name: str) -> Cell:
    warm = name == "warm"
    return Cell(
        name=name, setting=name, coordinates=(), seed=None if warm else 0, turn=0, manifest=make_manifest(name=name)
    )


def known(**phases: str) -> dict[str, JobRecord]:
    return {name: JobRecord(phase=phase) for name, phase in phases.items()}


@pytest.mark.parametrize(
    ("cells", "phases", "created", "over"),
    [
        pytest.param("a b c", {}, ["a", "b"], False, id="as many as may run"),
        pytest.param("a b c", {"a": "Running"}, ["b"], False, id="one runs"),
        pytest.param("a b c", {"a": "Running", "b": ""}, [], False, id="all places taken, a new one too"),
        pytest.param("a b c", {"a": "Complete", "b": "Failed"}, ["c"], False, id="ended ones free their places"),
        pytest.param("a b", {"a": "Refused"}, ["b"], False, id="a refused one frees its place"),
        pytest.param("a b", {"a": "Complete", "b": "Failed"}, [], True, id="all ended"),
        pytest.param("warm a b", {}, ["warm"], False, id="the warm start alone"),
        pytest.param("warm a b", {"warm": "Running"}, [], False, id="the others wait for it"),
        pytest.param("warm a b", {"warm": "Complete"}, ["a", "b"], False, id="then they start"),
        pytest.param("warm a b", {"warm": "Failed"}, [], True, id="without it they never start"),
        pytest.param("warm a b", {"warm": "Failed", "a": "Running"}, [], False, id="what runs is awaited"),
    ],
)
def test_the_next_step(cells: str, phases: dict[str, str], created: list[str], over: bool) -> None:
    step = next_step([cell(name) for name in cells.split()], known(**phases), concurrency=2)
    assert [found.name for found in step.create] == created
    assert step.is_over == over


def test_a_job_is_the_cell_although_its_run_policy_changed() -> None:
    assert is_same(make_job(name="a", runPolicy={"suspend": True}), cell("a"))
    assert not is_same(make_job(name="a", optimization={"steps": 7}), cell("a"))


def test_a_record_has_phase_message_and_evaluation_of_the_status() -> None:
    figures = {"rows": 4, "passRate": 0.5, "joint": 0.25, "copyRate": 0.0, "emptyRate": 0.0}
    moment = "2026-01-01T00:0{}:00Z"
    condition = {
        "type": "Complete",
        "status": "True",
        "reason": "TrainingComplete",
        "message": "trained",
        "lastTransitionTime": moment.format(3),
    }
    status = {
        "phase": "Complete", "conditions": [condition], "evaluation": {"after": figures},
        "startTime": moment.format(0), "completionTime": moment.format(2),
    }  # fmt: skip
    record = record_of(SROJob.model_validate({**make_manifest(), "status": status}))
    assert (record.phase, record.message, record.seconds) == ("Complete", "trained", 120.0)
    assert record.evaluation is not None
    assert record.evaluation.after is not None
    assert record.evaluation.after.joint == 0.25
