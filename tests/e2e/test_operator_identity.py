"""What the pods of a job may do to the cluster, by the token that they hold: report their own progress, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before its import, or its assertions would fail without a word.
pytest.register_assert_rewrite("operator_stage")

from operator_stage import Caller, Stage, wait_until  # noqa: E402
from sro_cluster.controlplane import ControlPlane  # noqa: E402

pytestmark = pytest.mark.e2e
pytest_plugins = ["operator_stage"]

JOBS = "/apis/sro.dev/v1alpha1/namespaces/{namespace}/srojobs"
APPLY = "?fieldManager=sro-reporter&force=true"


def progress(step: int) -> dict[str, Any]:
    figures = {"attempt": 1, "step": step, "totalSteps": 100, "percent": step}
    return {**figures, "updatedAt": "2026-01-01T00:00:00Z"}


def applied(status: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "status": status}


def trainer_of(stage: Stage, plane: ControlPlane, account: str = "demo-trainer") -> Caller:
    """The holder of the token that the kubelet would mount into the job's first pod."""
    pod = stage.pods(1)[0]
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}")
    return Caller(plane=plane, token=stage.kubectl("create", "token", account, "-n", stage.namespace, *bound).strip())


def test_a_trainer_pod_reports_the_progress_of_its_own_job(stage: Stage, plane: ControlPlane) -> None:
    stage.submit()
    trainer = trainer_of(stage, plane)
    path = f"{JOBS.format(namespace=stage.namespace)}/demo/status{APPLY}"
    assert trainer("PATCH", path, applied({"progress": progress(7)}), "apply-patch+yaml") == (200, "")
    assert trainer("PATCH", path, applied({"progress": progress(9)}), "apply-patch+yaml") == (200, "")
    assert stage.status()["progress"] == progress(9)
    assert stage.status()["phase"] == "Queued"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phase", "Complete"),
        ("restarts", 5),
        ("completionTime", "2026-01-01T00:00:00Z"),
        ("attempts", []),
        ("conditions", []),
        ("evaluation", {}),
        ("output", {"uri": "pvc://elsewhere/model"}),
        ("observedGeneration", 99),
        ("attempt", 99),
        ("startTime", "2026-01-01T00:00:00Z"),
    ],
)
def test_a_trainer_pod_may_change_no_other_field_of_its_jobs_status(
    stage: Stage, plane: ControlPlane, field: str, value: object
) -> None:
    stage.submit()
    trainer = trainer_of(stage, plane)
    stage.wait_phase("Queued")
    code, message = trainer(
        "PATCH", f"{JOBS.format(namespace=stage.namespace)}/demo/status", {"status": {field: value}}
    )
    assert code == 403
    assert f"status.{field}: only the operator may change it" in message


def test_a_trainer_pod_may_touch_nothing_but_its_own_jobs_status(stage: Stage, plane: ControlPlane) -> None:
    stage.submit()
    stage.submit("other")
    trainer = trainer_of(stage, plane)
    jobs = JOBS.format(namespace=stage.namespace)
    core = f"/api/v1/namespaces/{stage.namespace}"
    wait_until(lambda: trainer("PATCH", f"{jobs}/demo/status", {"status": {"progress": progress(1)}})[0] == 200, "RBAC")
    refused = [
        trainer("PATCH", f"{jobs}/other/status", {"status": {"progress": progress(7)}}),
        trainer("PATCH", f"{jobs}/demo", {"spec": {"runPolicy": {"maxRestarts": 100}}}),
        trainer("PATCH", f"{jobs}/demo", {"metadata": {"labels": {"a": "b"}}}),
        trainer("PUT", f"{jobs}/demo/status", applied({}), "json"),
        trainer("DELETE", f"{jobs}/demo"),
        trainer("GET", f"{jobs}/demo"),
        trainer("GET", jobs),
        trainer("GET", f"{core}/secrets"),
        trainer("GET", f"{core}/secrets/any"),
        trainer("GET", f"{core}/configmaps/any"),
        trainer("GET", f"{core}/pods"),
        trainer("POST", f"{core}/pods", {"apiVersion": "v1", "kind": "Pod"}, "json"),
        trainer("PATCH", f"/apis/batch/v1/namespaces/{stage.namespace}/jobs/demo-a1", {"spec": {"suspend": True}}),
        trainer("POST", f"{core}/serviceaccounts/demo-trainer/token", {}, "json"),
    ]
    assert [code for code, _ in refused] == [403] * len(refused)
    assert all("is forbidden" in message for _, message in refused)


def test_a_job_that_names_an_account_gets_no_other_and_that_account_may_report(
    stage: Stage, plane: ControlPlane
) -> None:
    stage.kubectl("create", "serviceaccount", "team-trainer", "-n", stage.namespace)
    stage.submit(compute={"nodes": 2, "serviceAccountName": "team-trainer"})
    trainer = trainer_of(stage, plane, "team-trainer")
    path = f"{JOBS.format(namespace=stage.namespace)}/demo/status{APPLY}"
    assert trainer("PATCH", path, applied({"progress": progress(7)}), "apply-patch+yaml") == (200, "")
    assert stage.names("serviceaccount") == set()
    code, message = trainer("PATCH", path, applied({"phase": "Complete"}), "apply-patch+yaml")
    assert (code, "status.phase: only the operator" in message) == (403, True)
