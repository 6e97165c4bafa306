"""What is made for an attempt, field by field where a mistake would cost a run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sro_api.exit_codes import FINAL_EXIT_CODES
from sro_operator.desired import Children, desired_children
from sro_operator.settings import OperatorSettings
from sro_operator.testing import make_job

SETTINGS = OperatorSettings(trainer_image="registry/trainer:1")


def children(attempt: int = 1, **changes: object) -> Children:
    return desired_children(make_job(None, **changes), SETTINGS, attempt, resumed_from_step=30)


def of_kind(made: Children, kind: str) -> dict[str, Any]:
    (found,) = [child for child in made.supports if child["kind"] == kind]
    return found


def pod(made: Children) -> dict[str, Any]:
    spec: dict[str, Any] = made.job["spec"]["template"]["spec"]
    return spec


def container(made: Children) -> dict[str, Any]:
    (found,) = pod(made)["containers"]
    result: dict[str, Any] = found
    return result


def test_the_gang_is_one_indexed_job_that_replaces_no_pod() -> None:
    made = children(attempt=3)
    spec = made.job["spec"]
    assert made.job["metadata"]["name"] == "demo-a3"
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert (spec["backoffLimit"], pod(made)["restartPolicy"]) == (0, "Never")
    disrupted, final = spec["podFailurePolicy"]["rules"]
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert set(final["onExitCodes"]["values"]) == FINAL_EXIT_CODES


def test_ranks_find_rank_0_of_their_own_attempt_by_its_full_name() -> None:
    made = children(attempt=3)
    environment = {entry["name"]: entry.get("value") for entry in container(made)["env"]}
    assert environment["SRO_MASTER_ADDR"] == "demo-a3-0.demo.team.svc"
    assert environment["SRO_MASTER_PORT"] == "29500"
    service = of_kind(made, "Service")
    assert pod(made)["subdomain"] == service["metadata"]["name"] == "demo"
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert service["spec"]["selector"].items() <= made.job["spec"]["template"]["metadata"]["labels"].items()


def test_the_run_configuration_is_the_spec_with_its_defaults_written_out() -> None:
    made = children(attempt=2)
    template = made.job["spec"]["template"]
    run = json.loads(template["metadata"]["annotations"]["sro.dev/run-config"])
    assert (run["attempt"], run["reportToCluster"], run["uid"]) == (2, True, "uid-of-demo")
    assert (run["inputs"], run["outputs"], run["claims"]) == ("/usr/share/sro", "/workspace", "/mnt/sro")
    assert run["spec"]["optimization"]["batchSize"] == 16


def test_the_pods_run_as_an_account_of_their_own_that_nobody_granted_anything() -> None:
    made = children()
    assert [child["kind"] for child in made.supports] == ["Service", "ServiceAccount"]
    assert of_kind(made, "ServiceAccount")["automountServiceAccountToken"] is False
    assert (pod(made)["serviceAccountName"], pod(made)["automountServiceAccountToken"]) == ("demo-trainer", True)


def test_where_the_spec_names_an_account_none_is_made() -> None:
    made = children(compute={"serviceAccountName": "team"})
    assert [child["kind"] for child in made.supports] == ["Service"]
    assert pod(made)["serviceAccountName"] == "team"


def test_the_claims_of_all_uris_are_mounted_where_the_trainer_looks_for_them() -> None:
    made = children(output={"uri": "s3://results/demo", "checkpoints": "pvc://scratch/demo"})
    claims = {
        volume["persistentVolumeClaim"]["claimName"]: volume["name"]
        for volume in pod(made)["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert set(claims) == {"data", "models", "scratch"}
    paths = {mount["name"]: mount["mountPath"] for mount in container(made)["volumeMounts"]}
    assert {claim: paths[name] for claim, name in claims.items()} == {
        "data": "/mnt/sro/data",
        "models": "/mnt/sro/models",
        "scratch": "/mnt/sro/scratch",
    }


def test_a_text_that_looks_like_a_claim_is_none() -> None:
    leader = {"model": "pvc://models/leader", "promptTemplate": "pvc://a b {source}"}
    env = [{"name": "NOTE", "value": "pvc://other/path"}]
    made = children(leader=leader, compute={"nodes": 2, "env": env})
    names = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod(made)["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert names == {"data", "models", "results"}


@pytest.mark.parametrize("path", ["/workspace", "/workspace/", "/dev/shm"])
def test_a_volume_of_the_spec_takes_the_place_of_ours(path: str) -> None:
    compute = {
        "volumes": [{"name": "disk", "emptyDir": {}}],
        "volumeMounts": [{"name": "disk", "mountPath": path}],
    }
    paths = [mount["mountPath"].rstrip("/") for mount in container(children(compute=compute))["volumeMounts"]]
    assert len(paths) == len(set(paths))


def test_credentials_reach_the_trainer_by_reference_only() -> None:
    made = children(credentials=[{"name": "tokens"}])
    assert container(made)["envFrom"] == [{"secretRef": {"name": "tokens"}}]


def test_overrides_of_the_spec_reach_the_pod() -> None:
    compute = {
        "nodes": 2,
        "image": "mine:2",
        "imagePullSecrets": [{"name": "registry"}],
        "sharedMemory": "4Gi",
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
        "labels": {"team": "a", "sro.dev/attempt": "9"},
        "annotations": {"note": "b"},
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    made = children(compute=compute)
    spec, template = pod(made), made.job["spec"]["template"]["metadata"]
    assert (container(made)["image"], spec["priorityClassName"]) == ("mine:2", "high")
    assert spec["nodeSelector"] == {"gpu": "yes"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert (template["labels"]["team"], template["labels"]["sro.dev/attempt"]) == ("a", "1")
    assert set(template["annotations"]) == {"note", "sro.dev/run-config"}
    assert container(made)["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
    assert [entry for entry in container(made)["env"] if entry["name"] == "HOME"] == [{"name": "HOME", "value": "/tmp"}]
    assert {"medium": "Memory", "sizeLimit": "4Gi"} in [volume.get("emptyDir") for volume in spec["volumes"]]


def test_a_job_that_states_no_resources_gets_requests_by_its_processes() -> None:
    made = children(compute={"processesPerNode": 4})
    assert container(made)["resources"] == {"requests": {"cpu": "2000m", "memory": "8192Mi"}}


def test_a_queue_finds_its_labels_on_the_job() -> None:
    job = make_job(
        None,
        labels={"kueue.x-k8s.io/queue-name": "gpus", "team": "a"},
        annotations={"kueue.x-k8s.io/job-min-parallelism": "1", "note": "b"},
    )
    metadata = desired_children(job, SETTINGS, 1).job["metadata"]
    assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert metadata["annotations"] == {"kueue.x-k8s.io/job-min-parallelism": "1", "sro.dev/resumed-from-step": "0"}
    assert "team" not in metadata["labels"]
    assert "suspend" not in desired_children(job, SETTINGS, 1).job["spec"]


def test_names_stay_within_a_host_name_for_the_longest_job_and_attempt() -> None:
    job = make_job(None, name="a" * 46)
    made = desired_children(job, SETTINGS, 100_000)
    assert len(f"{made.job['metadata']['name']}-999") <= 63
    assert all(len(child["metadata"]["name"]) <= 63 for child in made.supports)


def test_the_step_resumed_from_is_kept_on_the_job() -> None:
    assert children().job["metadata"]["annotations"]["sro.dev/resumed-from-step"] == "30"


def test_a_smaller_attempt_tells_its_pods_how_many_they_are() -> None:
    made = desired_children(make_job(None, compute={"nodes": 4, "minNodes": 1}), SETTINGS, 2, nodes=2)
    assert (made.job["spec"]["completions"], made.job["spec"]["parallelism"]) == (2, 2)
    run = json.loads(made.job["spec"]["template"]["metadata"]["annotations"]["sro.dev/run-config"])
    assert run["spec"]["compute"]["nodes"] == 2
