"""The operator works with the rights that the chart gives it, and needs every one of them.

A real operator process runs under the chart's own service account through a job's whole life, two failed attempts, a
completed one and deletion at the end of its time to live; the API server's audit log tells what it asked for.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chart"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

from chart_release import Releases, sro_job
from chart_rendering import Manifest, Values, environment
from pod_groups import pod_group_crd
from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.controlplane import ControlPlane
from sro_cluster.errors import ClusterError

pytestmark = pytest.mark.e2e

RELEASE = "sro-operator"
Right = tuple[str, str]
"""A resource, with its group and subresource, and a verb."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """One release of the chart, and what its operator asked of the API server through one job's life."""

    values: Values
    namespace: str
    """Of the operator."""
    team: str
    """Of the job."""
    role: str
    """Kind of the operator's role."""
    requests: tuple[Manifest, ...] = ()
    """Entries of the audit log."""
    rules: tuple[Manifest, ...] = ()


LIVES = (
    Life(values={}, namespace="sro-cluster", team="any-team", role="clusterrole"),
    Life(
        values={"scope": "namespaced", "watchNamespaces": ["team-a"]}, namespace="sro-team", team="team-a", role="role"
    ),
)


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """A cluster of this module's own, which keeps a record of every request."""
    with ControlPlane(audit=True, gangs=True) as started:
        kubectl_of(started.binaries, started.kubeconfig).apply(
            [pod_group_crd("scheduling.x-k8s.io/v1alpha1"), pod_group_crd("scheduling.volcano.sh/v1beta1")]
        )
        yield started


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """`kubectl` as the administrator of that cluster."""
    return kubectl_of(control_plane.binaries, control_plane.kubeconfig)


@pytest.fixture(scope="module", params=LIVES, ids=["cluster scope", "namespaced scope"])
def life(
    request: pytest.FixtureRequest,
    control_plane: ControlPlane,
    kubectl: Kubectl,
    tmp_path_factory: pytest.TempPathFactory,
) -> Life:
    """The operator has seen one job from its creation to its deletion."""
    planned: Life = request.param
    kubectl("create", "namespace", planned.team)
    releases = Releases(program=control_plane.binaries / "helm", kubeconfig=control_plane.kubeconfig)
    releases.install(RELEASE, planned.namespace, planned.values, flags=("--take-ownership",))
    kubectl.wait_for_crd()
    folder = tmp_path_factory.mktemp("operator")
    with (folder / "log").open("w+") as log:
        operator = start_operator(control_plane, kubectl, planned.namespace, folder / "kubeconfig", log)
        try:
            live_a_life(kubectl, planned.team)
            for scheduler, group in GANGS.items():
                live_as_a_gang(kubectl, planned.team, scheduler, f"podgroups.{group}")
        except ClusterError as error:
            log.seek(0)
            pytest.fail(f"{error}; the operator said:\n{log.read()[-4000:]}")
        finally:
            operator.terminate()
            operator.wait(timeout=30)
    rules = kubectl.get(planned.role, RELEASE, "-n", planned.team)["rules"]
    rules += kubectl.get("role", f"{RELEASE}-lease", "-n", planned.namespace)["rules"]
    releases.uninstall(RELEASE, planned.namespace)
    return replace(planned, requests=tuple(requests_of(control_plane, planned.namespace)), rules=tuple(rules))


def start_operator(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, kubeconfig: Path, log: TextIO
) -> subprocess.Popen[str]:
    """The operator as the chart configures it, but quicker and outside a pod."""
    token = kubectl("create", "token", RELEASE, "-n", namespace).strip()
    kubeconfig.write_text(json.dumps(_kubeconfig(control_plane, token)), encoding="utf-8")
    told = environment([kubectl.get("deployment", RELEASE, "-n", namespace)])
    quicker = {"SRO_RESTART_BASE_SECONDS": "0.1", "SRO_RESYNC_SECONDS": "2", "SRO_KEPT_ATTEMPTS": "0"}
    loopback = {"SRO_HTTP_HOST": "127.0.0.1", "SRO_HTTP_PORT": "0", "KUBECONFIG": str(kubeconfig)}
    command = [sys.executable, "-m", "sro_operator"]
    variables = {**os.environ, **told, **quicker, **loopback}
    return subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT, text=True)


def _kubeconfig(control_plane: ControlPlane, token: str) -> Manifest:
    authority = str(control_plane.authority.pair.certificate)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": control_plane.server, "certificate-authority": authority}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def live_a_life(kubectl: Kubectl, namespace: str) -> None:
    """A job that a quota holds up, whose children are edited, that fails twice, completes, and is deleted when its time to live is
    over. The test plays the kubelet."""
    kubectl("create", "quota", "none", "--hard=pods=0", "-n", namespace)
    job = sro_job(namespace)
    job["spec"]["runPolicy"] = {"maxRestarts": 2, "ttlSecondsAfterFinished": 0}
    kubectl("create", "-f", "-", stdin=json.dumps(job))
    wait_for_reason(kubectl, namespace, "PodsRefused")
    kubectl("delete", "quota", "none", "-n", namespace)
    for attempt, exit_code in ((1, 1), (2, 1), (3, 0)):
        label = f"sro.dev/job-name=tiny,sro.dev/attempt={attempt}"
        kubectl("wait", "--for=create", "pod", "-l", label, "-n", namespace, "--timeout=90s")
        if attempt == 1:
            edit_children(kubectl, namespace)
        (pod,) = kubectl.get("pods", "-l", label, "-n", namespace)["items"]
        end_pod(kubectl, pod, exit_code)
    kubectl("wait", "--for=delete", "srojob/tiny", "-n", namespace, "--timeout=90s")


GANGS = {
    "Kubernetes": "scheduling.k8s.io",
    "Coscheduling": "scheduling.x-k8s.io",
    "Volcano": "scheduling.volcano.sh",
}


def live_as_a_gang(kubectl: Kubectl, namespace: str, scheduler: str, groups: str) -> None:
    """A job whose pods start together or not at all; its group is edited, and goes when the job is told to pause."""
    job = sro_job(namespace, scheduler.lower())
    job["spec"]["compute"] = {"nodes": 2, "gangScheduling": scheduler}
    job["spec"]["output"] = {"uri": "pvc://results/run"}
    kubectl("create", "-f", "-", stdin=json.dumps(job))
    group = f"{groups}/{scheduler.lower()}-a1"
    kubectl("wait", "--for=create", group, "-n", namespace, "--timeout=90s")
    kubectl("wait", "--for=create", f"job/{scheduler.lower()}-a1", "-n", namespace, "--timeout=90s")
    put_back(kubectl, namespace, scheduler.lower(), group)
    paused = json.dumps({"spec": {"runPolicy": {"suspend": True}}})
    kubectl("patch", "srojob", scheduler.lower(), "-n", namespace, "--type=merge", "-p", paused)
    kubectl("wait", "--for=delete", group, "-n", namespace, "--timeout=90s")
    kubectl("delete", "srojob", scheduler.lower(), "-n", namespace)


def wait_for_reason(kubectl: Kubectl, namespace: str, reason: str) -> None:
    """Wait until the job is queued for this reason."""
    path = f"jsonpath={{.status.conditions[?(@.type=='Queued')].reason}}={reason}"
    kubectl("wait", f"--for={path}", "srojob/tiny", "-n", namespace, "--timeout=90s")


def edit_children(kubectl: Kubectl, namespace: str) -> None:
    """Take a label from each child, and wait until it is back."""
    for child in ("serviceaccount/tiny-trainer", "job/tiny-a1"):
        put_back(kubectl, namespace, "tiny", child)


def put_back(kubectl: Kubectl, namespace: str, job: str, child: str) -> None:
    """Take a label from a child of a job, and wait until it is back."""
    kubectl("label", child, "-n", namespace, "sro.dev/job-uid=another", "--overwrite")
    uid = kubectl.get("srojob", job, "-n", namespace)["metadata"]["uid"]
    path = f"jsonpath={{.metadata.labels['sro\\.dev/job-uid']}}={uid}"
    kubectl("wait", f"--for={path}", child, "-n", namespace, "--timeout=90s")


def end_pod(kubectl: Kubectl, pod: Manifest, exit_code: int) -> None:
    """Report what a kubelet reports when the trainer's container has ended."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    terminated = {
        "exitCode": exit_code,
        "reason": "Error" if exit_code else "Completed",
        "startedAt": now,
        "finishedAt": now,
    }
    container = {
        "name": "trainer",
        "image": "docker.io/sro/trainer:0.1.0",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
    }
    status = {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": [container]}
    change = json.dumps({"status": status})
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    kubectl("patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", change)


def requests_of(control_plane: ControlPlane, namespace: str) -> Iterator[Manifest]:
    """What the operator's account asked of the API server, with the answer."""
    account = f"system:serviceaccount:{namespace}:{RELEASE}"
    for line in control_plane.audit_log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["user"]["username"] == account and "objectRef" in entry and "responseStatus" in entry:
            yield entry


def right_of(entry: Manifest) -> Right:
    """The right that a request needs."""
    target = entry["objectRef"]
    resource = "/".join(target[part] for part in ("resource", "subresource") if part in target)
    return f"{target.get('apiGroup', '')}:{resource}", entry["verb"]


def test_nothing_that_the_operator_asks_for_is_forbidden(life: Life) -> None:
    assert len(life.requests) > 20
    assert [right_of(entry) for entry in life.requests if entry["responseStatus"]["code"] == 403] == []


def test_the_operator_uses_every_right_that_the_chart_gives_it_and_no_other(life: Life) -> None:
    used: set[Right] = set()
    for entry in life.requests:
        resource, verb = right_of(entry)
        # An apply that makes its object needs the right to create it as well.
        used |= {(resource, verb)} | ({(resource, "create")} if entry["responseStatus"]["code"] == 201 else set())
    granted = {
        (f"{group}:{resource}", verb)
        for rule in life.rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert used == granted


def test_the_operator_never_asks_for_a_secret(life: Life) -> None:
    assert [entry for entry in life.requests if entry["objectRef"]["resource"] == "secrets"] == []


def test_the_operator_of_a_team_looks_at_no_other_namespace(life: Life) -> None:
    # Its lease apart, which lies in its own.
    entries = [entry for entry in life.requests if entry["objectRef"]["resource"] != "leases"]
    asked = {entry["objectRef"].get("namespace", "") for entry in entries}
    assert asked <= ({"", life.team} if life.role == "clusterrole" else {life.team})
