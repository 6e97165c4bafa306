"""From manifests to facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sro_operator.observed import TerminationNote, attempt_job, observe, termination_note, trainer_pod


def job(conditions: list[dict[str, Any]], **status: Any) -> dict[str, Any]:
    metadata = {
        "name": "demo-a2",
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"sro.dev/attempt": "2"},
        "annotations": {"sro.dev/resumed-from-step": "30"},
        "ownerReferences": [{"uid": "owner", "controller": True}],
    }
    return {"metadata": metadata, "spec": {}, "status": {"conditions": conditions, **status}}


def said(kind: str, time: str, status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "R", "message": "M", "lastTransitionTime": time}


def test_a_jobs_facts_are_read() -> None:
    found = attempt_job(job([], startTime="2026-01-01T00:00:05Z"))
    assert (found.attempt, found.resumed_from_step, found.resource_version) == (2, 30, "7")
    assert found.started == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert (found.finished, found.is_failing, found.ended) == (None, False, None)


@pytest.mark.parametrize(
    ("conditions", "finished", "is_failing", "second"),
    [
        ([said("FailureTarget", "2026-01-01T00:00:10Z")], None, True, 10),
        ([said("FailureTarget", "2026-01-01T00:00:10Z"), said("Failed", "2026-01-01T00:00:40Z")], "Failed", True, 10),
        ([said("Failed", "2026-01-01T00:00:40Z")], "Failed", True, 40),
        ([said("Complete", "2026-01-01T00:00:50Z")], "Complete", False, 50),
        ([said("Failed", "2026-01-01T00:00:40Z", "False")], None, False, None),
    ],
)
def test_an_attempt_ends_when_its_job_gives_up_and_not_when_its_last_pod_is_gone(
    conditions: list[dict[str, Any]], finished: str | None, is_failing: bool, second: int | None
) -> None:
    found = attempt_job(job(conditions))
    assert (found.finished, found.is_failing) == (finished, is_failing)
    assert (found.ended.second if found.ended else None) == second


def pod(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    labels = {"sro.dev/job-name": "demo", "sro.dev/attempt": "1"}
    annotations = {"batch.kubernetes.io/job-completion-index": "3"}
    return {
        "metadata": {"name": "p", "uid": "p", "labels": labels, "annotations": annotations, **metadata},
        "status": status,
    }


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return {
        "phase": "Failed",
        "containerStatuses": [{"name": "other", "state": {}}, {"name": "trainer", "state": state}],
    }


def test_an_exit_has_the_kubelets_reason_and_the_trainers_words() -> None:
    note = json.dumps({"reason": "BadData", "message": "no column 'text'"})
    found = trainer_pod(pod(ended(65, note))).exit
    assert found is not None
    assert (found.index, found.exit_code, found.reason, found.message) == (3, 65, "Error", "BadData: no column 'text'")


def test_of_a_long_log_the_end_is_kept() -> None:
    found = trainer_pod(pod(ended(1, "x" * 5000 + "the cause"))).exit
    assert found is not None
    assert found.message is not None
    assert (len(found.message), found.message[-9:]) == (1024, "the cause")


def test_out_of_memory_is_named_as_such() -> None:
    found = trainer_pod(pod(ended(137, reason="OOMKilled"))).exit
    assert found is not None
    assert found.reason == "OOMKilled"


@pytest.mark.parametrize(
    ("status", "waiting"),
    [
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no nodes"}
                ]
            },
            "Unschedulable: no nodes",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "trainer", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "m"}}}
                ]
            },
            "ImagePullBackOff: m",
        ),
        ({}, None),
    ],
)
def test_a_pending_pod_says_why(status: dict[str, Any], waiting: str | None) -> None:
    found = trainer_pod(pod({"phase": "Pending", **status}))
    assert (found.waiting, found.is_live, found.has_started) == (waiting, True, False)


def test_an_evicted_pod_is_disrupted() -> None:
    conditions = [{"type": "DisruptionTarget", "status": "True"}]
    assert trainer_pod(pod({"phase": "Failed", "conditions": conditions})).is_disrupted


@pytest.mark.parametrize("text", ["", "Traceback ...\nValueError: x", "[1, 2]", '"text"', "null"])
def test_a_termination_message_that_is_no_object_is_kept_as_text(text: str) -> None:
    assert termination_note(text) == TerminationNote(message=text.strip())


def test_a_termination_message_of_the_wrong_shape_is_read_as_far_as_it_goes() -> None:
    note = termination_note('{"reason": 5, "message": null, "evaluation": [], "output": {"uri": "u"}}')
    assert note == TerminationNote(reason="5", output={"uri": "u"})


def test_the_jobs_of_an_earlier_object_of_the_same_name_are_strangers() -> None:
    observed = observe("owner", [job([])], [])
    assert ([found.attempt for found in observed.jobs], observed.strangers) == ([2], ())
    observed = observe("another", [job([])], [])
    assert (observed.jobs, observed.strangers) == ((), ("demo-a2",))


@pytest.mark.parametrize("name", ["demo", "demo-a", "demo-a0", "demo-ax", "demo-a1-0-x7k2p", "demo-a1234567890"])
def test_a_job_that_is_called_like_no_attempt_is_none_whatever_owner_it_claims(name: str) -> None:
    mine = job([])
    observed = observe("owner", [{**mine, "metadata": {**mine["metadata"], "name": name}}], [])
    assert (observed.jobs, observed.strangers) == ((), ())
