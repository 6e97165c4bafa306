"""From what the API server serves to the models."""

from __future__ import annotations

import pytest

from sro_operator.parsing import InvalidSpecError, parse_job, parse_status
from sro_operator.status import is_finished
from sro_operator.testing import make_manifest

FAILED = {
    "type": "Failed",
    "status": "True",
    "reason": "BadData",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def test_a_broken_spec_is_named_field_by_field() -> None:
    manifest = make_manifest(leader={"model": "nowhere"}, method={"type": "Other"})
    with pytest.raises(InvalidSpecError) as error:
        parse_job(manifest)
    assert "spec.leader.model: " in str(error.value)
    assert "spec.method.type: " in str(error.value)


@pytest.mark.parametrize(
    "damage",
    [{"progress": {"stage": "Dreaming"}}, {"attempts": "many"}, {"phase": "Lost", "conditions": [FAILED, {"type": 1}]}],
    ids=["progress", "attempts", "phase and a condition"],
)
def test_a_finished_job_is_known_to_be_finished_however_its_status_is_damaged(damage: dict[str, object]) -> None:
    assert is_finished(parse_status({"phase": "Failed", "conditions": [FAILED], **damage}))


def test_a_broken_progress_costs_nothing_else() -> None:
    status = parse_status({"phase": "Running", "restarts": 2, "progress": {"step": -1}})
    assert (status.phase, status.restarts, status.progress) == ("Running", 2, None)
