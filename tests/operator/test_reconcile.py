"""One look at a job, with a fake cluster: what is written, in which order, and what is not."""

from __future__ import annotations

import asyncio
import copy

import pytest

from sro_api.base import Manifest
from sro_operator.cache import Cache
from sro_operator.errors import ApiError
from sro_operator.keys import Key
from sro_operator.memory import PodMemory
from sro_operator.observed import trainer_pod
from sro_operator.pacing import START_SECONDS, words_seconds
from sro_operator.reconcile import REFUSED_RECHECK_SECONDS, JobReconciler
from sro_operator.settings import OperatorSettings
from sro_operator.testing import FakeCluster, VirtualClock, make_manifest

WORDS_SECONDS = words_seconds(0)
KEY = Key(namespace="team", name="demo")


class World:
    """A reconciler and what it works on."""

    def __init__(self, **spec: object) -> None:
        self.clock = VirtualClock()
        self.cluster = FakeCluster(self.clock)
        self.pods = PodMemory()
        self.restart()
        self.cluster.put(make_manifest(**spec))  # type: ignore[arg-type]

    def restart(self) -> None:
        """A new process, which remembers nothing but what its watches list."""
        self.pods = PodMemory()
        self.reconciler = JobReconciler(self.cluster, self.cluster.cache, OperatorSettings(), self.pods, self.clock)

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
        "create Service demo",
        "create ServiceAccount demo-trainer",
        "create Job demo-a1",
        "apply status demo",
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
    world.cluster.remove("SROJob", "demo")
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
    needed = [write for write in undisturbed.cluster.writes if not write.startswith("create event")]
    for index, write in enumerate(needed):
        world = World()
        kind = " ".join(write.split(" ")[:2])
        with world.cluster.failing(kind, ApiError(500, "crash")), pytest.raises(ApiError):
            world.look()
        world.restart()
        world.look()
        assert world.status == undisturbed.status, f"crash at write {index}: {write}"
        assert set(world.cluster.objects) == set(undisturbed.cluster.objects)


def test_a_finished_job_never_runs_again_though_all_its_children_are_deleted() -> None:
    world = World(runPolicy={"maxRestarts": 0})
    world.look()
    world.fail_attempt(1)
    world.look()
    assert world.status["phase"] == "Failed"
    for kind, _, name in [entry for entry in world.cluster.objects if entry[0] != "SROJob"]:
        world.cluster.remove(kind, name)
    world.clock.advance(10_000)
    assert world.writes_of(look=2) == ["apply Service demo"]


def test_suspending_deletes_the_gang_in_the_state_it_was_seen_in() -> None:
    world = World()
    world.look()
    world.cluster.put(make_manifest(runPolicy={"suspend": True}))
    writes = world.writes_of()
    assert writes[:2] == ["delete Job demo-a1", "apply Service demo"]
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
    with world.cluster.failing("create Job", ApiError(403, "exceeded quota: gpus")):
        assert world.look() == REFUSED_RECHECK_SECONDS
    (accepted,) = [entry for entry in world.status["conditions"] if entry["status"] == "True"]
    assert accepted["message"] == "Job demo-a1 was refused: exceeded quota: gpus"
    world.look()
    assert world.status["phase"] == "Queued"


def test_a_pod_template_that_no_api_server_takes_fails_the_job() -> None:
    world = World()
    with world.cluster.failing("create Job", ApiError(422, "spec.template.spec.affinity: Invalid value")):
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


def test_a_job_at_the_end_of_its_time_to_live_is_announced_and_deleted() -> None:
    world = World(runPolicy={"ttlSecondsAfterFinished": 30, "maxRestarts": 0})
    world.look()
    world.fail_attempt(1)
    assert world.look() == 30
    world.clock.advance(30)
    assert world.writes_of() == ["create event TTLExpired", "delete SROJob demo"]


def test_a_finished_job_stays_finished_though_its_children_and_then_its_status_are_thrown_away() -> None:
    world = World(runPolicy={"maxRestarts": 0})
    world.look()
    world.fail_attempt(1)
    world.look()
    failed = world.status
    world.cluster.remove("Job", "demo-a1")
    world.cluster.remove_pods(1)
    world.look()
    world.cluster.set_status("SROJob", "demo", {})
    world.restart()
    world.look()
    # What the exits said is in the Job's pods alone.
    for attempt in failed["attempts"]:
        for entry in attempt["exits"]:
            del entry["message"]
    assert world.status == failed
    assert ("Job", "team", "demo-a1") not in world.cluster.objects


def test_attempts_are_rebuilt_from_the_record_when_the_status_and_old_jobs_are_gone() -> None:
    world = World(runPolicy={"maxRestarts": 9})
    world.look()
    for number in range(1, 6):
        world.fail_attempt(number)
        world.look()
        world.clock.advance(300)
        world.look()
    before = world.status
    assert [attempt["number"] for attempt in before["attempts"]] == [1, 2, 3, 4, 5, 6]
    assert ("Job", "team", "demo-a1") not in world.cluster.objects
    world.cluster.set_status("SROJob", "demo", {})
    world.restart()
    world.look()
    kept = ("number", "startTime", "endTime", "reason", "counted", "resumedFromStep")
    found = [{name: attempt.get(name) for name in kept} for attempt in world.status["attempts"]]
    assert found == [{name: attempt.get(name) for name in kept} for attempt in before["attempts"]]
    assert world.status["restarts"] == 5


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount"])
def test_a_support_that_was_deleted_is_made_again(kind: str) -> None:
    world = World()
    world.look()
    name = "demo" if kind == "Service" else "demo-trainer"
    world.cluster.remove(kind, name)
    assert world.writes_of(look=2) == [f"create {kind} {name}"]


EDITS: dict[str, tuple[str, str, str, Manifest]] = {
    "a Service loses its selector": ("Service", "demo", "apply", {"spec": {"selector": {"other": "x"}}}),
    "an account mounts tokens everywhere": (
        "ServiceAccount",
        "demo-trainer",
        "apply",
        {"automountServiceAccountToken": True},
    ),
    "an account loses its owner": ("ServiceAccount", "demo-trainer", "apply", {"metadata": {"ownerReferences": []}}),
    "a Job loses its owner": ("Job", "demo-a1", "merge", {"metadata": {"ownerReferences": []}}),
    "a Job is relabelled": ("Job", "demo-a1", "merge", {"metadata": {"labels": {"sro.dev/attempt": "7"}}}),
    "a Job is given fewer pods": ("Job", "demo-a1", "merge", {"spec": {"parallelism": 1}}),
}


@pytest.mark.parametrize(("kind", "name", "verb", "change"), EDITS.values(), ids=EDITS)
def test_a_child_that_was_edited_is_put_right_once(kind: str, name: str, verb: str, change: Manifest) -> None:
    world = World()
    world.look()
    stored = world.cluster.get(kind, name)
    made = copy.deepcopy(stored)
    world.cluster.put({key: {**value, **change[key]} if key in change and isinstance(value, dict) else change.get(key, value)
                       for key, value in stored.items()})  # fmt: skip
    assert world.writes_of(look=2) == [f"{verb} {kind} {name}"]
    mended = world.cluster.get(kind, name)
    for part in set(change) - {"metadata"}:
        assert {key: mended[part][key] for key in change[part]} == {key: made[part][key] for key in change[part]} if isinstance(
            change[part], dict) else mended[part] == made[part]  # fmt: skip
    assert mended["metadata"]["ownerReferences"] == made["metadata"]["ownerReferences"]
    assert mended["metadata"]["labels"] == made["metadata"]["labels"]


def test_a_job_whose_labels_are_all_gone_is_found_by_its_name() -> None:
    world = World()
    world.look()
    stored = copy.deepcopy(world.cluster.get("Job", "demo-a1"))
    del stored["metadata"]["labels"]
    world.cluster.put(stored)
    assert world.writes_of(look=2) == ["merge Job demo-a1"]
    assert (world.status["phase"], len(world.status["attempts"])) == ("Queued", 1)


def test_what_cannot_be_put_right_is_said_in_the_condition() -> None:
    world = World()
    world.look()
    world.clock.advance(WORDS_SECONDS)
    world.cluster.put({**world.cluster.get("ServiceAccount", "demo-trainer"), "automountServiceAccountToken": True})
    with world.cluster.failing("apply ServiceAccount", ApiError(403, "not yours")):
        assert world.look() == REFUSED_RECHECK_SECONDS
    (queued,) = [entry for entry in world.status["conditions"] if entry["type"] == "Queued"]
    assert queued["message"].endswith("cannot be put right: ServiceAccount demo-trainer was refused: not yours")
    world.clock.advance(WORDS_SECONDS)
    world.look()
    (queued,) = [entry for entry in world.status["conditions"] if entry["type"] == "Queued"]
    assert "put right" not in queued["message"]


def test_an_error_tells_whether_its_look_got_any_further() -> None:
    world, progressed = World(), []
    with world.cluster.failing("create Job", ApiError(500, "crash")):
        for _ in range(2):
            with pytest.raises(ApiError) as caught:
                world.look()
            progressed.append(caught.value.has_progressed)
    # The other children were made before it, and once.
    assert progressed == [True, False]


GROUPS = {"scheduling.k8s.io": "scheduling.k8s.io/v1alpha2"}


def with_groups(**compute: object) -> World:
    """A cluster that knows PodGroups."""
    world = World(compute={"nodes": 2, **compute}, runPolicy={"maxRestarts": 5})
    world.reconciler.pod_groups = dict(GROUPS)
    return world


def test_an_attempt_has_a_group_of_its_own_which_goes_with_it() -> None:
    world = with_groups()
    world.look()
    assert world.cluster.get("PodGroup", "demo-a1")["spec"] == {"schedulingPolicy": {"gang": {"minCount": 2}}}
    assert world.writes_of(look=2) == []
    for number in (1, 2, 3, 4):
        world.fail_attempt(number)
        world.look()
        world.cluster.remove_pods(number)
        world.clock.advance(3600)
        world.look()
    kinds = {(kind, name) for kind, _, name in world.cluster.objects if kind in ("Job", "PodGroup")}
    kept = ("demo-a2", "demo-a3", "demo-a4", "demo-a5")
    assert kinds == {(kind, name) for kind in ("Job", "PodGroup") for name in kept}


def test_a_group_that_was_deleted_or_relabelled_is_put_right() -> None:
    world = with_groups()
    world.look()
    world.cluster.remove("PodGroup", "demo-a1")
    assert world.writes_of(look=2) == ["create PodGroup demo-a1"]
    stored = copy.deepcopy(world.cluster.get("PodGroup", "demo-a1"))
    stored["metadata"]["labels"]["sro.dev/attempt"] = "7"
    world.cluster.put(stored)
    assert world.writes_of(look=2) == ["apply PodGroup demo-a1"]


def test_an_attempt_keeps_the_group_that_it_was_made_with() -> None:
    world = World()
    world.look()
    world.reconciler.pod_groups = dict(GROUPS)
    assert world.writes_of(look=2) == []


def test_a_gang_that_the_cluster_cannot_schedule_waits_and_says_what_is_missing() -> None:
    world = with_groups(gangScheduling="Volcano")
    assert world.look() == REFUSED_RECHECK_SECONDS
    (accepted,) = [entry for entry in world.status["conditions"] if entry["type"] == "Accepted"]
    assert accepted["message"].startswith(
        "spec.compute.gangScheduling: 'Volcano' needs PodGroups of scheduling.volcano.sh"
    )
    assert [kind for kind, _, _ in world.cluster.objects] == ["SROJob"]
    world.reconciler.pod_groups["scheduling.volcano.sh"] = "scheduling.volcano.sh/v1beta1"
    world.look()
    assert world.cluster.get("PodGroup", "demo-a1")["spec"] == {"minMember": 2}
    assert world.status["phase"] == "Queued"


def test_what_others_add_to_a_child_may_stay() -> None:
    world = World()
    world.look()
    service = copy.deepcopy(world.cluster.get("Service", "demo"))
    service["metadata"]["labels"]["team"] = "a"
    service["metadata"]["ownerReferences"].append({"kind": "Else", "uid": "x"})
    world.cluster.put(service)
    assert world.writes_of(look=2) == []


def test_a_first_attempt_reads_nothing_past_the_cache() -> None:
    world = World()
    world.look()
    world.look()
    assert world.cluster.reads == []


def test_a_further_attempt_is_not_made_while_a_pod_that_no_watch_told_of_lives() -> None:
    world = World()
    world.look()
    world.fail_attempt(1)
    world.look()
    world.cluster.is_blind = True
    world.cluster.add_pod(1, 1, {"phase": "Running"})
    world.clock.advance(60)
    assert "create Job demo-a2" not in world.writes_of()
    world.cluster.is_blind = False
    world.cluster.remove_pods(1)
    assert "create Job demo-a2" in world.writes_of()


def test_a_job_that_no_watch_told_of_is_taken_over_and_not_made_twice() -> None:
    world = World()
    world.cluster.is_blind = True
    with world.cluster.failing("apply status", ApiError(500, "crash")), pytest.raises(ApiError):
        world.look()
    world.cluster.cache = Cache()
    world.cluster.is_blind = False
    world.cluster.cache.saw(world.cluster.get("SROJob", "demo"))
    world.restart()
    world.look()
    assert (world.status["phase"], world.status["attempt"]) == ("Queued", 1)
    assert len([entry for entry in world.cluster.objects if entry[0] == "Job"]) == 1


def test_a_job_of_the_same_name_that_is_somebody_elses_is_left_alone_and_named() -> None:
    world = World()
    metadata = {"name": "demo-a1", "namespace": "team", "ownerReferences": [{"uid": "x", "controller": True}]}
    world.cluster.put({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})
    assert world.look() == REFUSED_RECHECK_SECONDS
    (accepted,) = [entry for entry in world.status["conditions"] if entry["status"] == "True"]
    assert accepted["message"] == "Job demo-a1 was refused: a Job of this name exists that is not of this SROJob"


def test_a_status_that_somebody_changed_meanwhile_is_read_again_before_it_is_written() -> None:
    world = World()
    world.cluster.is_blind = True
    world.cluster.put(make_manifest(runPolicy={"suspend": True}))
    world.cluster.is_blind = False
    world.look()
    world.look()
    assert world.status["phase"] == "Suspended"


def test_words_that_change_with_every_pod_are_written_now_and_then_and_anything_else_at_once() -> None:
    world = World(compute={"nodes": 3})
    world.look()
    for index, rest in ((0, WORDS_SECONDS - 2), (1, WORDS_SECONDS - 4)):
        world.clock.advance(2)
        world.cluster.add_pod(1, index, {"phase": "Running"})
        assert world.writes_of() == []
        assert world.look() == rest
    world.clock.advance(1)
    assert world.writes_of() == ["apply status demo"]
    (queued,) = [entry for entry in world.status["conditions"] if entry["type"] == "Queued"]
    assert queued["message"].startswith("2 of 3 pods of attempt 1 started")
    world.cluster.add_pod(1, 2, {"phase": "Running"})
    assert world.writes_of() == ["apply status demo", "create event PodsRunning"]


def test_where_the_api_server_is_slow_a_new_jobs_first_status_waits_for_its_pods() -> None:
    world = World()
    world.cluster.answer_seconds = 0.2
    assert world.look() == 5
    world.clock.advance(2)
    world.cluster.add_pod(1, 0, {"phase": "Running"})
    assert world.look() == 3
    assert "apply status demo" not in world.cluster.writes
    world.cluster.add_pod(1, 1, {"phase": "Running"})
    assert world.writes_of() == ["apply status demo", "create event PodsRunning"]
    assert world.status["phase"] == "Running"


def test_a_new_job_whose_pods_do_not_come_says_so_all_the_same() -> None:
    world = World()
    world.cluster.answer_seconds = 0.2
    world.look()
    world.clock.advance(5)
    assert world.writes_of() == ["apply status demo", "create event AttemptStarted"]
    assert world.status["phase"] == "Queued"


def test_a_refusal_waits_for_nothing() -> None:
    world = World()
    world.cluster.answer_seconds = 0.2
    with world.cluster.failing("create Job", ApiError(403, "exceeded quota")):
        world.look()
    assert "exceeded quota" in world.status["conditions"][0]["message"]


def test_when_its_job_was_begun_with_is_no_reason_to_write_at_once() -> None:
    world = World()
    world.look()
    world.clock.advance(2)
    began = world.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.cluster.set_status("Job", "demo-a1", {"startTime": began})
    assert world.writes_of() == []
    world.clock.advance(START_SECONDS - 3)
    assert world.writes_of() == []
    world.clock.advance(1)
    assert world.writes_of() == ["apply status demo"]
    assert world.status["attempts"][0]["startTime"] == began


def test_when_an_attempt_was_begun_with_is_told_beside_other_news() -> None:
    world = World()
    world.look()
    world.clock.advance(2)
    began = world.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.cluster.set_status("Job", "demo-a1", {"startTime": began})
    for index in range(2):
        world.cluster.add_pod(1, index, {"phase": "Running"})
    assert world.writes_of() == ["apply status demo", "create event PodsRunning"]
    assert world.status["attempts"][0]["startTime"] == began


def test_another_process_does_not_wait_with_words_that_it_did_not_write() -> None:
    world = World()
    world.look()
    world.cluster.add_pod(1, 0, {"phase": "Running"})
    world.restart()
    assert world.writes_of() == ["apply status demo"]


def test_pods_that_a_quota_refuses_are_named_in_the_condition() -> None:
    world = World()
    world.look()
    world.cluster.refused_pods = 'pods "demo-a1-0" is forbidden: exceeded quota: gpus'
    began = world.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    world.clock.advance(11)
    world.look()
    # Nobody is asked before the Job's controller has begun with it.
    assert "list Event demo-a1" not in world.cluster.reads
    world.cluster.set_status("Job", "demo-a1", {"startTime": began})
    assert world.look() == 15
    (queued,) = [entry for entry in world.status["conditions"] if entry["type"] == "Queued"]
    assert queued["reason"] == "PodsRefused"
    assert queued["message"] == f"0 of 2 pods of attempt 1 started; {world.cluster.refused_pods}"


def test_an_attempt_short_of_nodes_gives_way_to_a_smaller_one() -> None:
    world = World(compute={"nodes": 2, "minNodes": 1, "shrinkAfterSeconds": 60})
    world.look()
    world.cluster.add_pod(1, 0, {"phase": "Running"})
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}
    world.cluster.add_pod(1, 1, {"phase": "Pending", "conditions": [unplaced]})
    assert world.look() == 15
    world.clock.advance(60)
    # The second status says which pods have yet to end.
    assert world.writes_of() == [
        "apply status demo", "create event NodesShort", "delete Job demo-a1", "apply status demo", "apply Service demo",
    ]  # fmt: skip
    # The status of before may be lost from here on: the record tells what was found.
    world.cluster.set_status("SROJob", "demo", {})
    world.restart()
    world.cluster.remove_pods(1)
    world.look()
    job = world.cluster.get("Job", "demo-a2")
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (1, 1)
    assert [entry["nodes"] for entry in world.status["attempts"]] == [2, 1]
    assert (world.status["restarts"], world.status["disruptions"]) == (0, 0)
