"""The operator against a real API server, controller manager and scheduler; pods end as the test says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before its import, or its assertions would fail without a word.
pytest.register_assert_rewrite("operator_stage")

from operator_stage import (  # noqa: E402
    Manifest,
    OperatorProcess,
    Stage,
    add_node,
    condition,
    true_conditions,
    wait_until,
)

pytestmark = pytest.mark.e2e

pytest_plugins = ["operator_stage"]


def test_a_new_job_gets_its_children_and_each_is_owned_by_it(stage: Stage) -> None:
    stage.submit()
    status = stage.wait_phase("Queued")
    stage.pods(1)
    expected = {
        "service": {"demo"},
        "job": {"demo-a1"},
        "serviceaccount": {"demo-trainer"},
    }
    assert {kind: stage.names(kind) for kind in expected} == expected
    uid = stage.job()["metadata"]["uid"]
    for kind, names in expected.items():
        owners = stage.kubectl.get(kind, *names, "-n", stage.namespace)["metadata"]["ownerReferences"]
        assert [(owner["uid"], owner["controller"]) for owner in owners] == [(uid, True)]
    assert set(true_conditions(status)) == {"Accepted", "Queued"}
    # This cluster has no node.
    wait_until(
        lambda: condition(stage.status(), "Queued")["reason"] == "PodsUnschedulable", "the scheduler's words are known"
    )
    message = condition(stage.status(), "Queued")["message"]
    assert message.startswith("0 of 2 pods of attempt 1 started; demo-a1-0-")
    assert "no nodes available to schedule pods" in message


def test_the_operator_leaves_no_finalizer_and_no_annotation_on_a_job(stage: Stage) -> None:
    stage.submit()
    stage.wait_phase("Queued")
    metadata = stage.job()["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata


def test_a_job_whose_pods_start_and_complete_says_running_then_complete_with_what_was_measured(stage: Stage) -> None:
    stage.submit()
    first, second = stage.pods(1)
    stage.run_pods(first)
    wait_until(
        lambda: "1 of 2 pods" in condition(stage.status(), "Queued")["message"], "one of two pods is not running yet"
    )
    stage.run_pods(second)
    running = stage.wait_phase("Running")
    assert true_conditions(running) == {"Accepted": "SpecAccepted", "Running": "PodsRunning"}
    figures = {"rows": 8, "passRate": 0.75, "copyRate": 0.0, "emptyRate": 0.0}
    note = {"reason": "TrainingComplete", "message": "", "evaluation": {"after": figures}, "output": {"model": "/m"}}
    stage.end_pod(second, 0)
    stage.end_pod(first, 0, json.dumps(note))
    status = stage.wait_phase("Complete")
    assert status["evaluation"] == {"after": figures}
    assert status["output"] == {"uri": "pvc://results/demo", "model": "/m"}
    assert status["completionTime"] >= status["startTime"]
    assert status["attempts"][0]["reason"] == "TrainingComplete"
    assert true_conditions(status) == {"Accepted": "SpecAccepted", "Complete": "TrainingComplete"}
    expected = ["AttemptStarted", "PodsRunning", "TrainingComplete"]

    def said() -> list[str]:
        return [reason for reason in stage.events() if reason != "PodsUnschedulable"]

    wait_until(lambda: said() == expected, "the events are said", lambda: str(stage.events()))


def test_a_failed_pod_restarts_the_whole_gang_from_the_last_checkpoint(stage: Stage) -> None:
    stage.submit()
    first, second = stage.pods(1)
    stage.run_pods(first, second)
    stage.wait_phase("Running")
    stage.report(step=40, checkpoint=30)
    stage.end_pod(second, 137, "killed")
    third, fourth = stage.pods(2)
    stage.run_pods(third, fourth)
    status = stage.wait_phase("Running", attempt=2)
    ended, running = status["attempts"]
    assert (ended["reason"], ended["counted"]) == ("AttemptFailed", True)
    assert ended["exits"] == [{"index": 1, "exitCode": 137, "reason": "Error", "message": "killed"}]
    assert (running["number"], running["resumedFromStep"]) == (2, 30)
    assert status["restarts"] == 1
    assert status["progress"]["step"] == 40
    wait_until(lambda: "AttemptFailed" in stage.events(), "the failure is an event")


def test_a_final_exit_code_fails_the_job_at_once(stage: Stage) -> None:
    stage.submit()
    first, second = stage.pods(1)
    stage.run_pods(first, second)
    note = json.dumps({"reason": "BadData", "message": "data.toxic: column 'text' is not in the file"})
    stage.end_pod(first, 65, note)
    status = stage.wait_phase("Failed")
    failed = condition(status, "Failed")
    assert failed["reason"] == "BadData"
    assert "column 'text' is not in the file" in failed["message"]
    assert (status["attempt"], status["restarts"]) == (1, 0)


def test_a_job_fails_for_good_when_its_restarts_are_used_up(stage: Stage) -> None:
    stage.submit(runPolicy={"maxRestarts": 1})
    stage.end_pod(stage.pods(1)[0], 1, "first")
    stage.end_pod(stage.pods(2)[0], 1, "second")
    status = stage.wait_phase("Failed")
    assert condition(status, "Failed")["reason"] == "MaxRestartsExceeded"
    assert [attempt["counted"] for attempt in status["attempts"]] == [True, False]
    assert status["restarts"] == 1
    stage.kubectl("delete", "jobs", "--all", "-n", stage.namespace, "--wait=true")
    stage.patch(maxRestarts=5)
    wait_until(lambda: stage.status()["observedGeneration"] == 2, "the operator looked at the finished job again")
    assert stage.status()["phase"] == "Failed"
    assert stage.names("job") == set()


def test_an_eviction_starts_a_new_attempt_without_using_up_a_restart(stage: Stage) -> None:
    stage.submit(runPolicy={"maxRestarts": 0})
    first, second = stage.pods(1)
    stage.run_pods(first, second)
    stage.wait_phase("Running")
    stage.end_pod(first, 76, disrupted=True)
    stage.pods(2)
    status = stage.wait_phase("Queued", attempt=2)
    assert (status["attempts"][0]["reason"], status["restarts"]) == ("AttemptDisrupted", 0)


def test_a_suspended_job_has_no_pods_and_goes_on_as_a_new_attempt(stage: Stage) -> None:
    stage.submit()
    stage.run_pods(*stage.pods(1))
    stage.wait_phase("Running")
    stage.report(step=40, checkpoint=40)
    stage.patch(suspend=True)
    status = stage.wait_phase("Suspended")
    wait_until(lambda: stage.status()["attempts"][0].get("reason") == "SuspendedByUser", "the attempt is closed")
    stage.pods(1, count=0)
    assert true_conditions(status) == {"Accepted": "SpecAccepted", "Suspended": "SuspendedByUser"}
    stage.patch(suspend=False)
    stage.run_pods(*stage.pods(2))
    status = stage.wait_phase("Running", attempt=2)
    assert status["attempts"][1]["resumedFromStep"] == 40
    assert (status["restarts"], condition(status, "Suspended")["reason"]) == (0, "ResumedByUser")


def test_a_job_made_suspended_makes_nothing(stage: Stage) -> None:
    stage.submit(runPolicy={"suspend": True})
    status = stage.wait_phase("Suspended")
    assert "startTime" not in status
    assert stage.names("job") == set()


def test_a_job_that_outruns_its_deadline_fails_and_its_pods_go(stage: Stage) -> None:
    stage.submit(runPolicy={"activeDeadlineSeconds": 3})
    stage.run_pods(*stage.pods(1))
    status = stage.wait_phase("Failed")
    assert condition(status, "Failed")["reason"] == "DeadlineExceeded"
    assert status["attempts"][0]["reason"] == "DeadlineExceeded"
    stage.pods(1, count=0)


def test_a_finished_job_is_deleted_after_its_time_to_live_with_all_that_it_made(stage: Stage) -> None:
    stage.submit(runPolicy={"ttlSecondsAfterFinished": 1})
    for pod in stage.pods(1):
        stage.end_pod(pod, 0)
    wait_until(lambda: stage.kubectl.get("srojobs", "-n", stage.namespace)["items"] == [], "the job is gone")
    stage.wait_gone()
    assert stage.events()[-1] == "TTLExpired"


def test_deleting_a_running_job_leaves_nothing(stage: Stage) -> None:
    stage.submit()
    stage.run_pods(*stage.pods(1))
    stage.wait_phase("Running")
    stage.kubectl("delete", "srojob", "demo", "-n", stage.namespace, "--wait=true")
    stage.wait_gone()


DRIFT = {
    "a Service deleted": ("service/demo", ("delete",)),
    "an account deleted": ("serviceaccount/demo-trainer", ("delete",)),
    "a Service that selects others": ("service/demo", ("spec", {"selector": {"sro.dev/job-name": "other"}})),
    "an account that mounts tokens everywhere": (
        "serviceaccount/demo-trainer",
        ("automountServiceAccountToken", True),
    ),
    "an account without owner": ("serviceaccount/demo-trainer", ("metadata", {"ownerReferences": None})),
    "an account relabelled": ("serviceaccount/demo-trainer", ("metadata", {"labels": {"sro.dev/job-name": None}})),
    "a Job without owner": ("job/demo-a1", ("metadata", {"ownerReferences": None})),
    "a Job relabelled": ("job/demo-a1", ("metadata", {"labels": {"sro.dev/attempt": "7"}})),
    "a Job without its labels": ("job/demo-a1", ("metadata", {"labels": {"sro.dev/job-name": None}})),
    "a Job with fewer pods": ("job/demo-a1", ("spec", {"parallelism": 1})),
}


@pytest.mark.parametrize(("child", "change"), DRIFT.values(), ids=DRIFT)
def test_a_child_that_was_changed_is_put_right(stage: Stage, child: str, change: tuple[Any, ...]) -> None:
    stage.submit()
    stage.wait_phase("Queued")
    stage.pods(1)
    before = made_of(stage, child)
    if change == ("delete",):
        stage.kubectl("delete", child, "-n", stage.namespace)
    else:
        stage.kubectl("patch", child, "-n", stage.namespace, "--type=merge", "-p", json.dumps(dict([change])))
    wait_until(lambda: made_of(stage, child) == before, f"{child} is as it was", lambda: str(made_of(stage, child)))
    status = stage.status()
    assert (status["phase"], status["attempt"], len(status["attempts"])) == ("Queued", 1, 1)


def made_of(stage: Stage, child: str) -> Manifest:
    """What the operator decides about a child."""
    kind, name = child.split("/")
    found = stage.kubectl.get(kind, "-n", stage.namespace, "--field-selector", f"metadata.name={name}")["items"]
    if not found:
        return {}
    (item,) = found
    metadata, spec = item["metadata"], item.get("spec", {})
    parts = {key: item[key] for key in ("automountServiceAccountToken",) if key in item}
    parts |= {key: spec[key] for key in ("parallelism", "completions", "ports") if key in spec}
    if kind == "service":
        parts["selector"] = spec["selector"]
    labels = {key: value for key, value in metadata.get("labels", {}).items() if key.startswith("sro.dev/")}
    owners = [owner["uid"] for owner in metadata.get("ownerReferences", ())]
    return {**parts, "labels": labels, "owners": owners}


def test_pods_that_a_quota_refuses_are_named_in_the_condition(stage: Stage) -> None:
    stage.kubectl("create", "quota", "none", "--hard=pods=0", "-n", stage.namespace)
    stage.submit()
    wait_until(
        lambda: condition(stage.wait_phase("Queued"), "Queued")["reason"] == "PodsRefused", "the refusal is known"
    )
    assert "exceeded quota: none" in condition(stage.status(), "Queued")["message"]


def test_pods_that_do_not_start_in_time_fail_the_job_and_say_why(stage: Stage) -> None:
    stage.submit(runPolicy={"startupTimeoutSeconds": 3})
    stage.pods(1)
    status = stage.wait_phase("Failed")
    failed = condition(status, "Failed")
    assert failed["reason"] == "StartupTimeout"
    assert failed["message"].startswith("0 of 2 pods of attempt 1 started")
    stage.pods(1, count=0)


@pytest.fixture
def one_place(stage: Stage) -> Iterator[str]:
    """A node that takes one pod, and the claims that a pod mounts."""
    name = f"place-of-{stage.namespace}"
    with stage.claims():
        add_node(stage.kubectl, name, pods=1)
        yield name
        stage.kubectl("delete", "node", name)


def test_with_nodes_for_fewer_pods_the_next_attempt_has_fewer(stage: Stage, one_place: str) -> None:
    stage.submit(compute={"nodes": 2, "minNodes": 1, "shrinkAfterSeconds": 3})
    stage.wait_phase("Restarting")
    pods = stage.kubectl.get("pods", "-n", stage.namespace)["items"]
    (placed,) = [pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName")]
    # What the node's kubelet would do.
    stage.kubectl("delete", "pod", placed, "-n", stage.namespace, "--force", "--grace-period=0")
    status = stage.wait_phase("Queued", attempt=2)
    first, second = status["attempts"]
    assert (first["reason"], first["nodes"], first["nextNodes"], second["nodes"]) == ("NodesShort", 2, 1, 1)
    assert first["message"].endswith("after 3 s, spec.compute.shrinkAfterSeconds; the next attempt has 1 pods")
    assert (status["restarts"], status["disruptions"]) == (0, 0)
    assert "NodesShort" in stage.events()
    stage.pods(1, count=0)
    (pod,) = stage.pods(2, count=1)
    wait_until(
        lambda: stage.kubectl.get("pod", pod, "-n", stage.namespace)["spec"].get("nodeName") == one_place,
        "it has a node",
    )
    # What somebody makes of its Job's size is put right: the pod was told that it is alone.
    wide = json.dumps({"spec": {"completions": 2, "parallelism": 2}})
    stage.kubectl("patch", "job", "demo-a2", "-n", stage.namespace, "--type=merge", "-p", wide)
    wait_until(
        lambda: stage.kubectl.get("job", "demo-a2", "-n", stage.namespace)["spec"]["completions"] == 1,
        "its size is put back",
    )
    stage.run_pods(pod)
    stage.wait_phase("Running")
    stage.end_pod(pod, 76, disrupted=True)
    # A later attempt asks for all nodes again.
    after = stage.wait_phase("Queued", attempt=3)
    assert [entry.get("nodes") for entry in after["attempts"]] == [2, 1, 2]


def test_attempts_whose_jobs_are_gone_are_rebuilt_after_the_status_was_thrown_away(stage: Stage) -> None:
    stage.submit(runPolicy={"maxRestarts": 5})
    for attempt in (1, 2, 3, 4):
        stage.end_pod(stage.pods(attempt)[0], 1, f"cause {attempt}")
    stage.pods(5)
    before = stage.wait_phase("Queued", attempt=5)
    assert "demo-a1" not in stage.names("job")
    patch = json.dumps([{"op": "remove", "path": "/status"}])
    flags = ("-n", stage.namespace, "--subresource=status", "--type=json", "-p", patch)
    stage.kubectl("patch", "srojob", "demo", *flags)
    after = stage.wait_phase("Queued", attempt=5)
    kept = ("number", "startTime", "endTime", "reason", "counted")
    assert [[entry.get(name) for name in kept] for entry in after["attempts"]] == [
        [entry.get(name) for name in kept] for entry in before["attempts"]
    ]
    assert after["restarts"] == before["restarts"] == 4


def test_an_attempt_whose_job_is_deleted_is_followed_by_another(stage: Stage) -> None:
    stage.submit()
    stage.pods(1)
    stage.wait_phase("Queued")
    stage.kubectl("delete", "job", "demo-a1", "-n", stage.namespace)
    stage.pods(2)
    status = stage.wait_phase("Queued", attempt=2)
    assert (status["attempts"][0]["reason"], status["restarts"]) == ("AttemptDisrupted", 0)


def test_a_pod_template_that_the_api_server_refuses_fails_the_job_in_its_words(stage: Stage) -> None:
    term = {"matchExpressions": [{"key": "zone", "operator": "Sometimes"}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    stage.submit(compute={"nodes": 2, "affinity": affinity})
    failed = condition(stage.wait_phase("Failed"), "Failed")
    assert failed["reason"] == "BadConfiguration"
    assert "not a valid selector operator" in failed["message"]


def test_a_field_that_no_pod_has_fails_the_job_in_the_api_servers_words(stage: Stage) -> None:
    stage.submit(compute={"nodes": 2, "affinity": {"nodeAffinty": {}}})
    failed = condition(stage.wait_phase("Failed"), "Failed")
    assert failed["reason"] == "BadConfiguration"
    assert "nodeAffinty" in failed["message"]


def test_an_operator_that_crashed_goes_on_where_it_stood(stage: Stage, operator: OperatorProcess) -> None:
    stage.submit()
    first, second = stage.pods(1)
    stage.run_pods(first, second)
    stage.wait_phase("Running")
    operator.kill()
    stage.end_pod(first, 1, "died while nobody looked")
    stage.submit("late")
    operator.start()
    stage.run_pods(*stage.pods(2))
    status = stage.wait_phase("Running", attempt=2)
    assert [attempt["number"] for attempt in status["attempts"]] == [1, 2]
    assert status["attempts"][0]["exits"][0]["message"] == "died while nobody looked"
    stage.wait_phase("Queued", "late")


def test_a_status_that_was_thrown_away_is_rebuilt(stage: Stage) -> None:
    stage.submit(runPolicy={"maxRestarts": 1})
    stage.end_pod(stage.pods(1)[0], 1, "first")
    stage.end_pod(stage.pods(2)[0], 1, "second")
    before = stage.wait_phase("Failed")
    patch = json.dumps([{"op": "remove", "path": "/status"}])
    flags = ("-n", stage.namespace, "--subresource=status", "--type=json", "-p", patch)
    stage.kubectl("patch", "srojob", "demo", *flags)
    after = stage.wait_phase("Failed")
    assert after["attempts"] == before["attempts"]
    assert (after["restarts"], true_conditions(after)) == (1, true_conditions(before))


def test_the_pages_tell_health_readiness_and_figures(stage: Stage, operator: OperatorProcess) -> None:
    stage.submit()
    stage.wait_phase("Queued")
    assert operator.page("/healthz") == (200, "ok\n")
    assert operator.page("/readyz") == (200, "ok\n")
    status, text = operator.page("/metrics")
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert status == 200
    assert float(figures['sro_jobs{phase="Queued"}']) >= 1
    assert float(figures['sro_api_requests_total{code="201",resource="jobs",verb="POST"}']) >= 1
    assert float(figures['sro_reconciles_total{result="ok"}']) >= 1
