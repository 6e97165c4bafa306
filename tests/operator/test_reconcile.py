"""One look at a job, with a fake cluster: what is written, in which order, and what is not."""

from __future__ import annotations

import asyncio

import pytest

from sro_api.base import Manifest
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.memory import PodMemory
from sro_operator.observed import trainer_pod
from sro_operator.reconcile import REFUSED_RECHECK_SECONDS, JobReconciler
from sro_operator.settings import OperatorSettings
from sro_operator.testing import FakeCluster, VirtualClock, make_manifest

KEY = Key(namespace="team", name="demo")


class World:
    """A reconciler and what it works on."""

    def __init__(self, **spec: object) -> None:
        self.clock = VirtualClock()
        self.cluster = FakeCluster(self.clock)
        self.pods = PodMemory()
        self.reconciler = JobReconciler(self.cluster, OperatorSettings(), self.pods, self.clock)
        self.cluster.put(make_manifest(**spec))  # type: ignore[arg-type]

    def look(self) -> float | None:
        return asyncio.run(self.reconciler(KEY))

    @property
    def status(self) -> Manifest:
        status: Manifest = self.cluster.get("SROJob", "demo").get("status", {})
        return status

    def writes_of(self, look: int = 1) -> list[str]:
        """The writes that further looks make."""
        before = len(self.cluster.writes)
        for _ in range(look):
            self.look()
        return self.cluster.writes[before:]

    def fail_attempt(self, number: int, code: int = 1) -> None:
        when = self.clock().isoformat()
        self.cluster.add_pod(number, 0, ended("Failed", code))
        failed = {"status": "True", "reason": "BackoffLimitExceeded", "message": "", "lastTransitionTime": when}
        conditions = [{**failed, "type": "FailureTarget"}, {**failed, "type": "Failed"}]
        self.cluster.set_status("Job", f"demo-a{number}", {"startTime": when, "conditions": conditions})


def ended(phase: str, code: int) -> Manifest:
    state = {"terminated": {"exitCode": code, "reason": "Error", "message": "the cause"}}
    return {"phase": phase, "containerStatuses": [{"name": "trainer", "state": state}]}


def test_a_new_job_gets_its_children_then_its_status_then_its_events() -> None:
    world = World()
    world.look()
    assert world.cluster.writes == [
        "apply ConfigMap demo-a1",
        "apply Service demo",
        "apply ServiceAccount demo-trainer",
        "apply Role demo-trainer",
        "apply RoleBinding demo-trainer",
        "apply Job demo-a1",
        "apply status demo",
        "create event SpecAccepted",
        "create event PodsPending",
        "create event AttemptStarted",
    ]


def test_looking_again_writes_nothing() -> None:
    world = World()
    world.look()
    assert world.writes_of(look=3) == []


def test_a_job_that_is_gone_or_going_is_left_alone() -> None:
    world = World()
    going = make_manifest()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.cluster.put(going)
    assert (world.look(), world.cluster.writes) == (None, [])
    del world.cluster.objects[("SROJob", "team", "demo")]
    assert (world.look(), world.cluster.writes) == (None, [])


def test_a_failed_attempt_is_reported_and_followed_after_its_pause() -> None:
    world = World()
    world.look()
    world.fail_attempt(1)
    assert world.look() == 10.0
    assert world.status["phase"] == "Restarting"
    world.clock.advance(10)
    world.look()
    assert (world.status["phase"], world.status["attempt"], world.status["restarts"]) == ("Queued", 2, 1)
    assert ("Job", "team", "demo-a2") in world.cluster.objects


def test_the_end_is_written_before_anything_is_cleaned_up() -> None:
    world = World(runPolicy={"activeDeadlineSeconds": 60})
    world.look()
    world.clock.advance(60)
    writes = world.writes_of()
    assert writes.index("apply status demo") < writes.index("delete Job demo-a1")
    assert world.status["phase"] == "Failed"


def test_a_crash_after_any_write_of_a_start_ends_in_the_same_state_with_one_job() -> None:
    undisturbed = World()
    undisturbed.look()
    for index, write in enumerate(undisturbed.cluster.writes):
        world = World()
        kind = " ".join(write.split(" ")[:2])
        with world.cluster.failing(kind, ApiError(500, "crash")), pytest.raises(ApiError):
            world.look()
        # A new process remembers nothing.
        world.reconciler = JobReconciler(world.cluster, OperatorSettings(), PodMemory(), world.clock)
        world.look()
        assert world.status == undisturbed.status, f"crash at write {index}: {write}"
        assert set(world.cluster.objects) == set(undisturbed.cluster.objects)


def test_a_finished_job_never_runs_again_though_all_its_children_are_deleted() -> None:
    world = World(runPolicy={"maxRestarts": 0})
    world.look()
    world.fail_attempt(1)
    world.look()
    assert world.status["phase"] == "Failed"
    for entry in [entry for entry in world.cluster.objects if entry[0] != "SROJob"]:
        del world.cluster.objects[entry]
    world.clock.advance(10_000)
    assert world.writes_of(look=2) == []


def test_suspending_deletes_the_gang_in_the_state_it_was_seen_in() -> None:
    world = World()
    world.look()
    world.cluster.put(make_manifest(runPolicy={"suspend": True}))
    writes = world.writes_of()
    assert writes[:2] == ["delete Job demo-a1", "delete ConfigMap demo-a1"]
    assert (world.status["phase"], world.status["attempts"][0]["reason"]) == ("Suspended", "SuspendedByUser")


def test_progress_is_never_written_by_the_operator() -> None:
    world = World()
    world.look()
    progress = {"attempt": 1, "step": 3, "totalSteps": 9, "percent": 33, "updatedAt": "2026-01-01T00:00:00Z"}
    world.cluster.set_status("SROJob", "demo", {**world.status, "progress": progress})
    assert world.writes_of() == []
    world.fail_attempt(1)
    world.look()
    assert world.status["progress"] == progress


def test_a_quota_keeps_the_job_waiting_and_says_so() -> None:
    world = World()
    with world.cluster.failing("apply Job", ApiError(403, "exceeded quota: gpus")):
        assert world.look() == REFUSED_RECHECK_SECONDS
    (accepted,) = [entry for entry in world.status["conditions"] if entry["status"] == "True"]
    assert accepted["message"] == "Job demo-a1 was refused: exceeded quota: gpus"
    world.look()
    assert world.status["phase"] == "Queued"


def test_a_pod_template_that_no_api_server_takes_fails_the_job() -> None:
    world = World()
    with world.cluster.failing("apply Job", ApiError(422, "spec.template.spec.affinity: Invalid value")):
        world.look()
    assert world.status["phase"] == "Failed"
    (failed,) = [entry for entry in world.status["conditions"] if entry["type"] == "Failed"]
    assert failed["reason"] == "BadConfiguration"
    assert "affinity: Invalid value" in failed["message"]


def test_a_spec_that_breaks_the_contract_is_refused_in_the_status_and_makes_no_children() -> None:
    world = World(leader={})
    world.look()
    assert world.cluster.writes == ["apply status demo", "create event SpecInvalid"]
    (accepted,) = world.status["conditions"]
    assert (accepted["status"], accepted["reason"]) == ("False", "SpecInvalid")
    assert "spec.leader.model: Field required" in accepted["message"]
    assert world.writes_of() == []


def test_an_unreadable_progress_hides_nothing() -> None:
    world = World()
    world.look()
    world.cluster.set_status("SROJob", "demo", {**world.status, "progress": {"stage": "Dreaming"}})
    assert world.writes_of() == []


def test_a_pod_that_ended_and_went_between_two_looks_is_still_known() -> None:
    world = World()
    world.look()
    world.fail_attempt(1, code=65)
    pod = next(item for entry, item in world.cluster.objects.items() if entry[0] == "Pod")
    world.pods.note(KEY, trainer_pod(pod), is_gone=False)
    world.cluster.remove_pods(1)
    world.look()
    assert (world.status["phase"], world.status["attempts"][0]["exits"][0]["exitCode"]) == ("Failed", 65)


def test_supporting_children_are_put_back_when_a_repair_is_asked_for() -> None:
    world = World()
    world.look()
    del world.cluster.objects[("Service", "team", "demo")]
    assert world.writes_of() == []
    world.reconciler.ask_repair(KEY)
    world.look()
    assert ("Service", "team", "demo") in world.cluster.objects
    assert "apply Job demo-a1" not in world.cluster.writes[10:]


def test_a_job_at_the_end_of_its_time_to_live_is_announced_and_deleted() -> None:
    world = World(runPolicy={"ttlSecondsAfterFinished": 30, "maxRestarts": 0})
    world.look()
    world.fail_attempt(1)
    assert world.look() == 30
    world.clock.advance(30)
    assert world.writes_of() == ["create event TTLExpired", "delete SROJob demo"]
