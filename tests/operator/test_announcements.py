"""Events say what is new, once, with the reasons of the conditions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sro_api.status import SROJobStatus
from sro_operator.announcements import Announcement, announcements, build_event
from sro_operator.lifecycle import REASONS
from sro_operator.observed import AttemptJob, Observed, TrainerPod
from sro_operator.status import invalid_status, next_status
from sro_operator.testing import EPOCH, make_job

GANG = AttemptJob(name="demo-a1", uid="u", resource_version="1", attempt=1, created=EPOCH)
PODS = tuple(TrainerPod(name=f"p{i}", uid=f"p{i}", attempt=1, index=i, phase="Running") for i in range(2))


def reasons(before: SROJobStatus, after: SROJobStatus) -> list[str]:
    found = [news.reason for news in announcements(before, after)]
    assert set(found) <= set(REASONS)
    return found


def test_each_transition_is_said_once() -> None:
    nothing = SROJobStatus()
    queued = next_status(make_job(), Observed(jobs=(GANG,)), EPOCH)
    running = next_status(make_job(queued), Observed(jobs=(GANG,), pods=PODS), EPOCH + timedelta(seconds=9))
    assert reasons(nothing, queued) == ["AttemptStarted"]
    assert reasons(queued, running) == ["PodsRunning"]
    assert reasons(running, running) == []
    # One status that tells of both: that the attempt started follows.
    assert reasons(nothing, running) == ["PodsRunning"]


def test_suspending_and_resuming_are_said() -> None:
    running = next_status(make_job(), Observed(jobs=(GANG,), pods=PODS), EPOCH)
    suspended = next_status(make_job(running, runPolicy={"suspend": True}), Observed(), EPOCH)
    second = AttemptJob(name="demo-a2", uid="v", resource_version="1", attempt=2, created=EPOCH, resumed_from_step=30)
    resumed = next_status(make_job(suspended), Observed(jobs=(second,)), EPOCH)
    assert reasons(running, suspended) == ["SuspendedByUser"]
    assert reasons(suspended, resumed) == ["ResumedByUser", "AttemptStarted"]
    assert announcements(suspended, resumed)[-1].message == "attempt 2 started from step 30"
    pods = tuple(replace(pod, attempt=2) for pod in PODS)
    goes_on = next_status(make_job(suspended), Observed(jobs=(second,), pods=pods), EPOCH)
    # From which step does not follow from anything else.
    assert reasons(suspended, goes_on) == ["ResumedByUser", "AttemptStarted", "PodsRunning"]


def test_an_invalid_spec_is_said_again_only_when_its_fault_changes() -> None:
    first = invalid_status(SROJobStatus(), 1, "spec.leader: missing", EPOCH)
    assert reasons(SROJobStatus(), first) == ["SpecInvalid"]
    assert reasons(first, invalid_status(first, 1, "spec.leader: missing", EPOCH)) == []
    assert reasons(first, invalid_status(first, 2, "spec.data: missing", EPOCH)) == ["SpecInvalid"]
    assert announcements(SROJobStatus(), first)[0].is_warning


def test_an_event_said_twice_has_one_name() -> None:
    news = Announcement(reason="PodsRunning", message="m")
    first, again = (build_event("demo", "team", "u", news, EPOCH) for _ in range(2))
    later = build_event("demo", "team", "u", news, EPOCH + timedelta(seconds=1))
    assert first["metadata"]["name"] == again["metadata"]["name"] != later["metadata"]["name"]
    assert first["involvedObject"]["uid"] == "u"
