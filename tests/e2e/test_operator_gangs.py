"""Gangs and placement on the real API server and scheduler, with PodGroups of Kubernetes switched on."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

from operator_stage import Manifest, OperatorProcess, Stage, add_node, installed_operator, wait_until
from pod_groups import pod_group_crd
from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.controlplane import ControlPlane

pytestmark = pytest.mark.e2e
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(gangs=True) as started:
        yield started


@pytest.fixture(scope="module")
def admin(plane: ControlPlane) -> Kubectl:
    return kubectl_of(plane.binaries, plane.kubeconfig)


@pytest.fixture(scope="module")
def operator(plane: ControlPlane, admin: Kubectl) -> Iterator[OperatorProcess]:
    with installed_operator(plane, admin) as process:
        yield process


@pytest.fixture
def stage(admin: Kubectl, operator: OperatorProcess) -> Iterator[Stage]:
    namespace = f"gang-{next(_numbers)}"
    admin("create", "namespace", namespace)
    stage = Stage(kubectl=admin, namespace=namespace)
    with stage.claims():
        yield stage
    admin("delete", "srojobs", "--all", "-n", namespace)
    admin("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
    admin("delete", "nodes", "--all")


def places(stage: Stage, name: str = "demo") -> list[str]:
    """Nodes of a job's pods, in order; empty for one that has none."""
    pods = stage.kubectl.get("pods", "-n", stage.namespace, "-l", f"sro.dev/job-name={name}")["items"]
    return sorted(pod["spec"].get("nodeName", "") for pod in pods)


def says(stage: Stage, kind: str = "Queued", name: str = "demo") -> str:
    """The message of a condition; empty while there is none."""
    found = [entry for entry in stage.status(name).get("conditions", ()) if entry["type"] == kind]
    return str(found[0]["message"]) if found else ""


def group(stage: Stage, name: str) -> Manifest:
    return stage.kubectl.get("podgroups.scheduling.k8s.io", name, "-n", stage.namespace)


def test_a_gang_takes_no_node_before_all_its_pods_have_one(stage: Stage) -> None:
    add_node(stage.kubectl, "one", pods=1)
    stage.submit()
    stage.pods(1)
    assert group(stage, "demo-a1")["spec"]["schedulingPolicy"] == {"gang": {"minCount": 2}}
    wait_until(lambda: "Unschedulable" in says(stage), "the scheduler has tried", lambda: says(stage))
    assert places(stage) == ["", ""]
    add_node(stage.kubectl, "two", pods=1)
    wait_until(lambda: places(stage) == ["one", "two"], "both pods have a node", lambda: str(places(stage)))


def test_without_a_gang_one_pod_takes_the_node(stage: Stage) -> None:
    add_node(stage.kubectl, "one", pods=1)
    stage.submit(compute={"nodes": 2, "gangScheduling": "None"})
    wait_until(lambda: places(stage) == ["", "one"], "one pod has the node", lambda: str(places(stage)))
    assert stage.names("podgroups.scheduling.k8s.io") == set()


def test_each_attempt_has_its_group_and_all_go_with_the_job(stage: Stage) -> None:
    stage.submit(runPolicy={"maxRestarts": 5})
    for number in (1, 2, 3, 4):
        stage.end_pod(stage.pods(number)[0], 1)
    stage.pods(5)
    wait_until(lambda: "demo-a1" not in stage.names("job"), "the oldest attempt is gone")
    kept = {"demo-a2", "demo-a3", "demo-a4", "demo-a5"}
    wait_until(
        lambda: stage.names("podgroups.scheduling.k8s.io") == kept,
        "its group is gone, too",
        lambda: str(stage.names("podgroups.scheduling.k8s.io")),
    )
    stage.kubectl("delete", "srojob", "demo", "-n", stage.namespace)
    stage.kubectl("delete", "pods", "--all", "-n", stage.namespace, "--force", "--grace-period=0")
    wait_until(lambda: stage.names("podgroups.scheduling.k8s.io") == set(), "nothing is left")


def test_a_group_that_is_deleted_comes_back_while_its_pods_wait(stage: Stage) -> None:
    stage.submit()
    stage.pods(1)
    before = group(stage, "demo-a1")
    patch = json.dumps({"metadata": {"finalizers": None}})
    stage.kubectl("delete", "podgroups.scheduling.k8s.io", "demo-a1", "-n", stage.namespace, "--wait=false")
    stage.kubectl("patch", "podgroups.scheduling.k8s.io", "demo-a1", "-n", stage.namespace, "--type=merge", "-p", patch)
    wait_until(
        lambda: (
            "demo-a1" in stage.names("podgroups.scheduling.k8s.io")
            and group(stage, "demo-a1")["metadata"]["uid"] != before["metadata"]["uid"]
        ),
        "there is another of its name",
    )
    assert group(stage, "demo-a1")["spec"] == before["spec"]


def test_a_job_that_may_shrink_starts_with_what_there_is_and_then_shrinks(stage: Stage) -> None:
    add_node(stage.kubectl, "one", pods=1)
    stage.submit(compute={"nodes": 2, "minNodes": 1, "shrinkAfterSeconds": 2})
    stage.pods(1)
    wait_until(lambda: places(stage) == ["", "one"], "one pod has the node", lambda: str(places(stage)))
    stage.wait_phase("Restarting")
    stage.kubectl("delete", "pods", "--all", "-n", stage.namespace, "--force", "--grace-period=0")
    status = stage.wait_phase("Queued", attempt=2)
    assert [entry["nodes"] for entry in status["attempts"]] == [2, 1]
    assert "demo-a2" not in stage.names("podgroups.scheduling.k8s.io")


def test_what_the_cluster_does_not_have_is_named_until_it_has_it(stage: Stage) -> None:
    stage.submit(compute={"nodes": 2, "gangScheduling": "Coscheduling"})
    text = "needs PodGroups of scheduling.x-k8s.io, which this cluster does not serve"
    wait_until(
        lambda: text in says(stage, "Accepted"),
        "it is said",
        lambda: json.dumps(stage.status(), indent=1),
    )
    stage.kubectl.apply([pod_group_crd("scheduling.x-k8s.io/v1alpha1")])
    stage.pods(1)
    (found,) = stage.kubectl.get("podgroups.scheduling.x-k8s.io", "-n", stage.namespace)["items"]
    assert (found["metadata"]["name"], found["spec"]) == ("demo-a1", {"minMember": 2})
    (pod, _) = stage.kubectl.get("pods", "-n", stage.namespace)["items"]
    assert pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "demo-a1"
    assert pod["spec"]["schedulerName"] == "scheduler-plugins-scheduler"
    # And the other way round: the next job waits again, and the operator goes on with all else.
    stage.kubectl("delete", "crd", "podgroups.scheduling.x-k8s.io")
    stage.submit("late", compute={"nodes": 2, "gangScheduling": "Coscheduling"})
    wait_until(
        lambda: text in says(stage, "Accepted", "late"),
        "it is said again",
        lambda: json.dumps(stage.status("late"), indent=1),
    )
    stage.submit("other")
    stage.pods(1, "other")


def test_pods_stand_together_and_away_from_other_jobs(stage: Stage) -> None:
    for name, zone in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")):
        add_node(stage.kubectl, name, pods=4, labels={"kubernetes.io/hostname": name, "zone": zone})
    placement = {"together": "zone", "spread": "kubernetes.io/hostname", "exclusive": "zone"}
    stage.submit("first", compute={"nodes": 2, "placement": placement})
    wait_until(lambda: "" not in places(stage, "first") and len(places(stage, "first")) == 2, "the first job is placed")
    zone = places(stage, "first")[0][0]
    assert places(stage, "first") == [f"{zone}1", f"{zone}2"]
    # It asks for nothing itself, and is kept out of the first one's domain all the same.
    stage.submit("second")
    wait_until(lambda: "" not in places(stage, "second") and len(places(stage, "second")) == 2, "the second is placed")
    assert {place[0] for place in places(stage, "second")} == {"b" if zone == "a" else "a"}
