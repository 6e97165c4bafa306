"""What the chart lets the operator and a trainer do, and nothing more: asked of a real API server under their own tokens."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chart"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

from chart_release import MERGE, Caller, Releases, caller_of, sro_job, status_path
from chart_rendering import Manifest
from sro_api.v1alpha1 import SROJob
from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.controlplane import ControlPlane
from sro_cluster.errors import ClusterError
from sro_operator.builders.identity import build_identity

pytestmark = pytest.mark.e2e

RELEASE = NAMESPACE = "sro-operator"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
TEAM = "guarded"
TIME = "2026-01-02T03:04:05Z"
PROGRESS: Manifest = {"attempt": 1, "step": 3, "totalSteps": 10, "percent": 30, "updatedAt": TIME}
STATUS: Manifest = {
    "observedGeneration": 1,
    "phase": "Running",
    "conditions": [
        {"type": "Running", "status": "True", "reason": "PodsRunning", "message": "1 of 1", "lastTransitionTime": TIME}
    ],
    "startTime": TIME,
    "completionTime": TIME,
    "attempts": [{"number": 1, "startTime": TIME}],
    "attempt": 1,
    "restarts": 0,
    "output": {"uri": "pvc://runs/tiny"},
    "evaluation": {"before": {"rows": 1, "passRate": 0.5, "copyRate": 0, "emptyRate": 0}},
}
"""A status with every field of the operator's."""
LIES: Manifest = {
    "observedGeneration": 9,
    "phase": "Complete",
    "conditions": [
        {"type": "Complete", "status": "True", "reason": "TrainingComplete", "message": "", "lastTransitionTime": TIME}
    ],
    "startTime": "2025-01-01T00:00:00Z",
    "completionTime": "2025-01-01T00:00:00Z",
    "attempts": [{"number": 2, "startTime": TIME}],
    "attempt": 2,
    "restarts": 1,
    "output": {"uri": "pvc://runs/another"},
    "evaluation": {"before": {"rows": 1, "passRate": 1, "copyRate": 0, "emptyRate": 0}},
}
"""What a trainer must not be able to say, field by field."""


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
def releases(control_plane: ControlPlane, kubectl: Kubectl) -> Releases:
    """The chart, installed with its defaults."""
    helm = Releases(program=control_plane.binaries / "helm", kubeconfig=control_plane.kubeconfig)
    helm.install(RELEASE, NAMESPACE, {"admissionPolicy": {"exemptServiceAccounts": [f"{TEAM}:restorer"]}})
    kubectl.wait_for_crd()
    return helm


@pytest.fixture(scope="module")
def trainer(releases: Releases, control_plane: ControlPlane, kubectl: Kubectl) -> Caller:
    """The identity of a trainer pod whose job has a full status; the admission policy is in force."""
    kubectl("create", "namespace", TEAM)
    for name in ("tiny", "other"):
        kubectl("create", "-f", "-", stdin=json.dumps(sro_job(TEAM, name)))
    job = SROJob.model_validate(kubectl.get("srojob", "tiny", "-n", TEAM))
    kubectl.apply(build_identity(job), field_manager="sro-operator")
    caller = pod_of(control_plane, kubectl, "tiny-a1-0-x7k2p")
    operator = caller_of(control_plane, kubectl, NAMESPACE, RELEASE)
    assert write_status(operator, STATUS, manager="sro-operator") == (200, "")
    kubectl.wait_until(
        lambda: "ValidatingAdmissionPolicy" in write_status(caller, {"phase": "Failed"}, dry_run=True)[1],
        seconds=60,
        what="the admission policy is in force",
    )
    return caller


def pod_of(
    control_plane: ControlPlane, kubectl: Kubectl, name: str, *, namespace: str = TEAM, account: str = "tiny-trainer"
) -> Caller:
    """A pod of this name, with the token that its kubelet would mount."""
    spec = {
        "serviceAccountName": account,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "trainer", "image": "trainer"}],
    }
    metadata = {"name": name, "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    kubectl("create", "-f", "-", stdin=json.dumps(pod))
    return caller_of(control_plane, kubectl, namespace, account, pod=name)


def write_status(
    caller: Caller, status: Manifest, *, manager: str = "sro-reporter", dry_run: bool = False
) -> tuple[int, str]:
    """Server-side apply of a status to the job `tiny`."""
    body = {
        "apiVersion": "sro.dev/v1alpha1",
        "kind": "SROJob",
        "metadata": {"name": "tiny", "namespace": TEAM},
        "status": status,
    }
    return caller.patch(status_path(TEAM, "tiny"), body, manager=manager, dry_run=dry_run)


def status_of(kubectl: Kubectl) -> Manifest:
    """The status of the job `tiny`."""
    return dict(kubectl.get("srojob", "tiny", "-n", TEAM)["status"])


def test_a_trainer_may_write_its_progress(trainer: Caller, kubectl: Kubectl) -> None:
    assert write_status(trainer, {"progress": PROGRESS}) == (200, "")
    assert status_of(kubectl)["progress"]["step"] == 3


@pytest.mark.parametrize("field", LIES)
def test_a_trainer_may_change_no_other_field(trainer: Caller, kubectl: Kubectl, field: str) -> None:
    before = status_of(kubectl)[field]
    code, message = write_status(trainer, {"progress": PROGRESS, field: LIES[field]})
    assert code == 403
    assert (
        f"status.{field}: only the operator may change it; a trainer's account may change status.progress alone"
        in message
    )
    assert status_of(kubectl)[field] == before


@pytest.mark.parametrize("field", STATUS)
def test_a_trainer_may_remove_no_other_field(trainer: Caller, kubectl: Kubectl, field: str) -> None:
    code, message = trainer.patch(status_path(TEAM, "tiny"), {"status": {field: None}}, kind=MERGE)
    assert code == 403
    assert f"status.{field}: only the operator may change it" in message
    assert field in status_of(kubectl)


def test_a_trainer_cannot_drop_the_operators_fields_in_the_operators_name(trainer: Caller, kubectl: Kubectl) -> None:
    code, message = write_status(trainer, {"progress": PROGRESS}, manager="sro-operator")
    assert code == 403
    assert "only the operator may change it" in message
    assert status_of(kubectl)["phase"] == "Running"


def test_a_trainer_cannot_change_a_label_by_way_of_the_status(trainer: Caller, kubectl: Kubectl) -> None:
    code, _ = trainer.patch(status_path(TEAM, "tiny"), {"metadata": {"labels": {"kueue": "mine"}}}, kind=MERGE)
    assert code == 200
    assert "labels" not in kubectl.get("srojob", "tiny", "-n", TEAM)["metadata"]


NOT_ITS_OWN = "only the pods of this very job may report its progress"


def test_a_trainer_cannot_write_the_progress_of_another_job(trainer: Caller) -> None:
    code, message = trainer.patch(status_path(TEAM, "other"), {"status": {"progress": PROGRESS}}, kind=MERGE)
    assert (code, NOT_ITS_OWN in message) == (403, True)


@pytest.mark.parametrize(
    "name",
    ["tiny-a1-0", "tiny-0-x7k2p", "tiny-a1-x7k2p", "tiny-a-0-x7k2p", "tiny-b-a1-0-x7k2p", "a-tiny-a1-0-x7k2p", "tiny"],
)
def test_a_pod_that_is_not_called_as_the_jobs_own_are_cannot_write_its_progress(
    trainer: Caller, control_plane: ControlPlane, kubectl: Kubectl, name: str
) -> None:
    other = pod_of(control_plane, kubectl, name)
    code, message = write_status(other, {"progress": PROGRESS})
    assert (code, NOT_ITS_OWN in message) == (403, True)


def test_a_pod_of_another_namespace_cannot_write_its_progress(
    trainer: Caller, control_plane: ControlPlane, kubectl: Kubectl
) -> None:
    kubectl("create", "namespace", "elsewhere")
    kubectl("create", "serviceaccount", "tiny-trainer", "-n", "elsewhere")
    stranger = pod_of(control_plane, kubectl, "tiny-a1-0-x7k2p", namespace="elsewhere")
    code, message = write_status(stranger, {"progress": PROGRESS})
    assert (code, NOT_ITS_OWN in message) == (403, True)


def test_a_token_of_the_jobs_account_that_no_pod_holds_cannot_write_its_progress(
    trainer: Caller, control_plane: ControlPlane, kubectl: Kubectl
) -> None:
    loose = caller_of(control_plane, kubectl, TEAM, "tiny-trainer")
    code, message = write_status(loose, {"progress": PROGRESS})
    assert (code, NOT_ITS_OWN in message) == (403, True)


def test_a_trainer_cannot_write_its_jobs_spec(trainer: Caller) -> None:
    path = status_path(TEAM, "tiny").removesuffix("/status")
    code, message = trainer.patch(path, {"spec": {"runPolicy": {"maxRestarts": 100}}}, kind=MERGE)
    assert code == 403
    assert 'cannot patch resource "srojobs"' in message


def test_an_account_of_a_namespaces_admin_is_held_to_its_pods_progress_too(
    trainer: Caller, control_plane: ControlPlane, kubectl: Kubectl
) -> None:
    admin = account(control_plane, kubectl, "own-admin")
    code, message = write_status(admin, {"progress": PROGRESS}, manager="own")
    assert (code, NOT_ITS_OWN in message) == (403, True)
    reporter = pod_of(control_plane, kubectl, "tiny-a12-3-4dmnq", account="own-admin")
    assert write_status(reporter, {"progress": PROGRESS}, manager="own") == (200, "")
    code, message = write_status(reporter, {"progress": PROGRESS, "phase": "Complete"}, manager="own")
    assert (code, "status.phase: only the operator" in message) == (403, True)


def test_an_exempt_account_may_write_the_whole_status(
    trainer: Caller, control_plane: ControlPlane, kubectl: Kubectl
) -> None:
    restorer = account(control_plane, kubectl, "restorer")
    assert write_status(restorer, LIES, manager="restore", dry_run=True) == (200, "")


def test_a_person_may_write_the_whole_status(trainer: Caller, kubectl: Kubectl) -> None:
    change = json.dumps({"status": LIES})
    kubectl(
        "patch", "srojob", "tiny", "-n", TEAM, "--subresource=status", "--type=merge", "-p", change, "--dry-run=server"
    )


def account(control_plane: ControlPlane, kubectl: Kubectl, name: str) -> Caller:
    """A service account of the team's own, with the role of a namespace's admin."""
    kubectl("create", "serviceaccount", name, "-n", TEAM)
    kubectl("create", "rolebinding", name, "--clusterrole=admin", f"--serviceaccount={TEAM}:{name}", "-n", TEAM)
    caller = caller_of(control_plane, kubectl, TEAM, name)
    path = status_path(TEAM, "tiny")
    kubectl.wait_until(
        lambda: "cannot patch resource" not in caller.patch(path, {}, kind=MERGE, dry_run=True)[1],
        seconds=30,
        what=f"the role of {name} is in force",
    )
    return caller


def test_people_may_do_with_srojobs_what_they_may_do_with_other_things(releases: Releases, kubectl: Kubectl) -> None:
    def may(role: str, verb: str, resource: str = "srojobs.sro.dev") -> bool:
        group = f"person-with-{role}"
        try:
            return kubectl("auth", "can-i", verb, resource, "-n", "default", f"--as={group}").strip() == "yes"
        except ClusterError:
            return False

    for role in ("view", "edit", "admin"):
        kubectl(
            "create",
            "rolebinding",
            f"person-with-{role}",
            f"--clusterrole={role}",
            f"--user=person-with-{role}",
            "-n",
            "default",
        )
    kubectl.wait_until(lambda: may("admin", "create"), seconds=30, what="the roles are aggregated")
    allowed = {role: [may(role, verb) for verb in ("list", "create", "delete")] for role in ("view", "edit", "admin")}
    assert allowed == {"view": [True, False, False], "edit": [True] * 3, "admin": [True] * 3}
