"""The operator works with the rights that the chart gives it, and needs every one of them.

A real operator process runs under the chart's own service account through a job's whole life, two failed attempts, a
completed one and deletion at the end of its time to live; the API server's audit log tells what it asked for.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chart"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

from chart_release import Releases, sro_job
from chart_rendering import Manifest, environment
from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.controlplane import ControlPlane
from sro_cluster.errors import ClusterError

pytestmark = pytest.mark.e2e

RELEASE = NAMESPACE = "sro-operator"
TEAM = "rights"
Right = tuple[str, str]
"""A resource, with its group and subresource, and a verb."""


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    """A cluster of this module's own, which keeps a record of every request."""
    with ControlPlane(audit=True) as started:
        yield started


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """`kubectl` as the administrator of that cluster."""
    return kubectl_of(control_plane.binaries, control_plane.kubeconfig)


@pytest.fixture(scope="module")
def lived(control_plane: ControlPlane, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The chart is installed, and the operator has seen one job from its creation to its deletion."""
    Releases(program=control_plane.binaries / "helm", kubeconfig=control_plane.kubeconfig).install(RELEASE, NAMESPACE)
    kubectl("wait", "--for=condition=Established", "customresourcedefinition/srojobs.sro.dev", "--timeout=30s")
    folder = tmp_path_factory.mktemp("operator")
    with (folder / "log").open("w+") as log:
        operator = start_operator(control_plane, kubectl, folder / "kubeconfig", log)
        try:
            live_a_life(kubectl)
        except ClusterError as error:
            log.seek(0)
            pytest.fail(f"{error}; the operator said:\n{log.read()[-4000:]}")
        finally:
            operator.terminate()
            operator.wait(timeout=30)


def start_operator(
    control_plane: ControlPlane, kubectl: Kubectl, kubeconfig: Path, log: TextIO
) -> subprocess.Popen[str]:
    """The operator as the chart configures it, but quicker and outside a pod."""
    token = kubectl("create", "token", RELEASE, "-n", NAMESPACE).strip()
    kubeconfig.write_text(json.dumps(_kubeconfig(control_plane, token)), encoding="utf-8")
    told = environment([kubectl.get("deployment", RELEASE, "-n", NAMESPACE)])
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


def live_a_life(kubectl: Kubectl) -> None:
    """A job that fails twice, completes, and is deleted when its time to live is over. The test plays the kubelet."""
    job = sro_job(TEAM)
    job["spec"]["runPolicy"] = {"maxRestarts": 2, "ttlSecondsAfterFinished": 0}
    kubectl("create", "namespace", TEAM)
    kubectl("create", "-f", "-", stdin=json.dumps(job))
    for attempt, exit_code in ((1, 1), (2, 1), (3, 0)):
        label = f"sro.dev/job-name=tiny,sro.dev/attempt={attempt}"
        kubectl("wait", "--for=create", "pod", "-l", label, "-n", TEAM, "--timeout=90s")
        (pod,) = kubectl.get("pods", "-l", label, "-n", TEAM)["items"]
        end_pod(kubectl, pod["metadata"]["name"], exit_code)
    kubectl("wait", "--for=delete", "srojob/tiny", "-n", TEAM, "--timeout=90s")


def end_pod(kubectl: Kubectl, name: str, exit_code: int) -> None:
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
    kubectl("patch", "pod", name, "-n", TEAM, "--subresource=status", "--type=merge", "-p", change)


def requests_of_the_operator(control_plane: ControlPlane) -> Iterator[Manifest]:
    """What the operator's account asked of the API server, with the answer."""
    account = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
    for line in control_plane.audit_log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["user"]["username"] == account and "objectRef" in entry and "responseStatus" in entry:
            yield entry


def right_of(entry: Manifest) -> Right:
    """The right that a request needs."""
    target = entry["objectRef"]
    resource = "/".join(target[part] for part in ("resource", "subresource") if part in target)
    return f"{target.get('apiGroup', '')}:{resource}", entry["verb"]


@pytest.mark.usefixtures("lived")
def test_nothing_that_the_operator_asks_for_is_forbidden(control_plane: ControlPlane) -> None:
    refused = [
        right_of(entry) for entry in requests_of_the_operator(control_plane) if entry["responseStatus"]["code"] == 403
    ]
    assert refused == []


@pytest.mark.usefixtures("lived")
def test_the_operator_uses_every_right_that_the_chart_gives_it(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    used: set[Right] = set()
    for entry in requests_of_the_operator(control_plane):
        resource, verb = right_of(entry)
        # An apply that makes its object needs the right to create it as well.
        used |= {(resource, verb)} | ({(resource, "create")} if entry["responseStatus"]["code"] == 201 else set())
    rules = kubectl.get("clusterrole", RELEASE)["rules"]
    granted = {
        (f"{group}:{resource}", verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted - used == set(), "rights that are not used"
    assert used - granted == set(), "requests that are allowed by other roles"


@pytest.mark.usefixtures("lived")
def test_the_operator_never_asks_for_a_secret(control_plane: ControlPlane) -> None:
    assert [
        entry for entry in requests_of_the_operator(control_plane) if entry["objectRef"]["resource"] == "secrets"
    ] == []
