"""What is done to a job by others while it lives: a queue's moves, suspending again and again, deleting it in every phase."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before its import, or its assertions would fail without a word.
pytest.register_assert_rewrite("operator_stage")

from operator_stage import (  # noqa: E402
    Manifest,
    OperatorProcess,
    Stage,
    condition,
    sro_job,
    true_conditions,
    wait_until,
)

pytestmark = pytest.mark.e2e
pytest_plugins = ["operator_stage"]

QUEUE = "kueue.x-k8s.io/queue-name"
PRIORITY = "kueue.x-k8s.io/priority-class"
SUSPENSIONS = 20


@pytest.fixture
def queue(stage: Stage) -> Iterator[None]:
    """Jobs of the stage that carry a queue's name are made suspended, as Kueue's webhook makes them."""
    name = {"name": "queue"}
    labelled = f"has(object.metadata.labels) && {QUEUE!r} in object.metadata.labels"
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    suspended = {"expression": "Object{spec: Object.spec{suspend: true}}"}
    policy: Manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": name,
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [{"name": "queued", "expression": labelled}],
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": suspended}],
        },
    }
    binding: Manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": name,
        "spec": {"policyName": "queue"},
    }
    stage.kubectl.apply([policy, binding])
    try:
        wait_until(lambda: suspends(stage), "the queue is in force")
        yield
    finally:
        stage.kubectl("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", "queue")


def suspends(stage: Stage) -> bool:
    """Whether a Job with a queue's name is made suspended."""
    container = {"name": "c", "image": "i"}
    job = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe", "namespace": stage.namespace, "labels": {QUEUE: "q"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }  # fmt: skip
    made = json.loads(stage.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(job)))
    return bool(made["spec"].get("suspend"))


def gang(stage: Stage) -> Manifest:
    return stage.kubectl.get("job", "demo-a1", "-n", stage.namespace)


def move(stage: Stage, *, suspend: bool, flavor: str | None = None) -> None:
    """What Kueue does to admit a Job to a flavor's nodes, or to evict it."""
    spec: Manifest = {"suspend": suspend}
    if flavor is not None:
        spec["template"] = {"spec": {"nodeSelector": {"flavor": flavor}}}
    flags = ("--type=merge", "--field-manager=kueue")
    stage.kubectl("patch", "job", "demo-a1", "-n", stage.namespace, *flags, "-p", json.dumps({"spec": spec}))


@pytest.mark.usefixtures("queue")
def test_a_queue_holds_admits_evicts_and_admits_a_job_elsewhere(stage: Stage) -> None:
    job = sro_job("demo", stage.namespace)
    job["metadata"]["labels"] = {QUEUE: "team-queue", PRIORITY: "high"}
    stage.kubectl.apply([job])
    status = stage.wait_phase("Queued")
    wait_until(
        lambda: true_conditions(stage.status()).get("Queued") == "HeldByQueue", "the queue is named as the reason"
    )
    made = gang(stage)
    assert (made["metadata"]["labels"][QUEUE], made["metadata"]["labels"][PRIORITY]) == ("team-queue", "high")
    assert made["spec"]["suspend"] is True
    stage.pods(1, count=0)

    move(stage, suspend=False, flavor="spot")
    first = stage.pods(1)
    assert node_selector(stage, first[0]) == {"flavor": "spot"}
    stage.run_pods(*first)
    stage.wait_phase("Running")

    move(stage, suspend=True)
    stage.wait_phase("Queued")
    stage.pods(1, count=0)
    assert condition(stage.status(), "Queued")["reason"] == "HeldByQueue"

    move(stage, suspend=False, flavor="on-demand")
    second = stage.pods(1)
    assert node_selector(stage, second[0]) == {"flavor": "on-demand"}
    for pod in second:
        stage.end_pod(pod, 0)
    status = stage.wait_phase("Complete")
    # One attempt: the queue's evictions are no failures, and its Job was neither replaced nor written over.
    assert (len(status["attempts"]), status["restarts"], status.get("disruptions", 0)) == (1, 0, 0)
    assert writers_of_suspend(stage) == {"kueue"}


def node_selector(stage: Stage, pod: str) -> Manifest:
    found: Manifest = stage.kubectl.get("pod", pod, "-n", stage.namespace)["spec"]["nodeSelector"]
    return found


def writers_of_suspend(stage: Stage) -> set[str]:
    """Who wrote the Job's `suspend` last."""
    flags = ("-o", "json", "--show-managed-fields")
    job = json.loads(stage.kubectl("get", "job", "demo-a1", "-n", stage.namespace, *flags))
    owned = {entry["manager"]: entry["fieldsV1"].get("f:spec", {}) for entry in job["metadata"]["managedFields"]}
    return {manager for manager, fields in owned.items() if "f:suspend" in fields}


def test_suspending_and_resuming_again_and_again_loses_nothing(stage: Stage) -> None:
    stage.submit()
    for number in range(1, SUSPENSIONS + 1):
        pods = stage.pods(number)
        # Now while the pods run, now before they have started.
        if number % 2:
            stage.run_pods(*pods)
            stage.wait_phase("Running", attempt=number)
        stage.report(step=number, checkpoint=number, attempt=number)
        stage.patch(suspend=True)
        stage.wait_phase("Suspended", attempt=number)
        stage.patch(suspend=False)
    last = SUSPENSIONS + 1
    for pod in stage.pods(last):
        stage.end_pod(pod, 0)
    status = stage.wait_phase("Complete", attempt=last)
    assert (status["restarts"], status.get("disruptions", 0)) == (0, 0)
    ended = {attempt["number"]: attempt for attempt in status["attempts"]}
    assert {attempt["reason"] for number, attempt in ended.items() if number < last} == {"SuspendedByUser"}
    assert [ended[number]["resumedFromStep"] for number in sorted(ended) if number > 1] == [
        number - 1 for number in sorted(ended) if number > 1
    ]
    assert stage.names("job") == {f"demo-a{last}"}
    stage.kubectl("delete", "srojob", "demo", "-n", stage.namespace)
    stage.wait_gone()


def queued(stage: Stage) -> None:
    stage.submit()
    stage.pods(1)
    stage.wait_phase("Queued")


def running(stage: Stage) -> None:
    queued(stage)
    stage.run_pods(*stage.pods(1))
    stage.wait_phase("Running")


def restarting(stage: Stage) -> None:
    running(stage)
    stage.end_pod(stage.pods(1)[0], 1)
    stage.wait_phase("Restarting")


def suspended(stage: Stage) -> None:
    running(stage)
    stage.patch(suspend=True)
    stage.wait_phase("Suspended")


def complete(stage: Stage) -> None:
    running(stage)
    for pod in stage.pods(1):
        stage.end_pod(pod, 0)
    stage.wait_phase("Complete")


def failed(stage: Stage) -> None:
    running(stage)
    stage.end_pod(stage.pods(1)[0], 64)
    stage.wait_phase("Failed")


PHASES: dict[str, Callable[[Stage], None]] = {
    "Queued": queued,
    "Running": running,
    "Restarting": restarting,
    "Suspended": suspended,
    "Complete": complete,
    "Failed": failed,
}


@pytest.mark.parametrize("reach", PHASES.values(), ids=PHASES)
@pytest.mark.parametrize("is_watched", [True, False], ids=["operator there", "operator gone"])
def test_a_job_can_be_deleted_in_every_phase(
    stage: Stage, operator: OperatorProcess, reach: Callable[[Stage], None], *, is_watched: bool
) -> None:
    reach(stage)
    if not is_watched:
        operator.kill()
    try:
        stage.kubectl("delete", "srojob", "demo", "-n", stage.namespace, "--timeout=20s")
        stage.wait_gone()
    finally:
        if not is_watched:
            operator.start()
    # Nor does the operator bring anything back.
    assert stage.left() == []


@pytest.mark.parametrize("reach", [running, restarting], ids=["Running", "Restarting"])
def test_a_namespace_can_be_deleted_with_a_job_in_it(stage: Stage, reach: Callable[[Stage], None]) -> None:
    reach(stage)
    # The namespace controller comes back to what is left after half of the pods' two minutes of grace.
    stage.kubectl("delete", "namespace", stage.namespace, "--timeout=180s")
    assert stage.kubectl("get", "namespace", stage.namespace, "--ignore-not-found") == ""
