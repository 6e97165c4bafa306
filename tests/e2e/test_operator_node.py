"""The operator on a real node: pods that start, meet, report, checkpoint on SIGTERM and end as trainer pods do, without the
weight of training. What they run is a script of 60 lines, mounted in the trainer's place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before its import, or its assertions would fail without a word.
pytest.register_assert_rewrite("operator_stage")

from operator_stage import (  # noqa: E402
    SYSTEM,
    OperatorProcess,
    Stage,
    condition,
    install,
    rendered,
    wait_until,
)
from real_site import claim_on, restricted_namespace  # noqa: E402
from sro_cluster.client import Kubectl  # noqa: E402
from sro_cluster.node import Node  # noqa: E402

pytestmark = pytest.mark.node
NAMESPACE = "scripted"

TRAINER = """
import json, os, pathlib, signal, socket, ssl, sys, time, urllib.request

run = json.loads(pathlib.Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
rank = int(os.environ["JOB_COMPLETION_INDEX"])
shared = pathlib.Path("/mnt/sro/sro-data")
address = (os.environ["SRO_MASTER_ADDR"], int(os.environ["SRO_MASTER_PORT"]))
account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")


def end(code, reason, **more):
    note = {"reason": reason, "message": "as the test said", **more}
    pathlib.Path("/dev/termination-log").write_text(json.dumps(note))
    print("ends with", code, flush=True)
    os._exit(code)


def on_sigterm(*_):
    (shared / f"checkpoint-{run['attempt']}-{rank}").write_text("saved")
    end(76, "Terminated")


def report(step):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    progress = {"attempt": run["attempt"], "step": step, "totalSteps": 1000, "percent": 0, "lastCheckpointStep": step, "updatedAt": now}
    body = {"apiVersion": "sro.dev/v1alpha1", "kind": "SROJob", "metadata": {"name": run["name"]}, "status": {"progress": progress}}
    host = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    url = "https://%s:%s/apis/sro.dev/v1alpha1/namespaces/" % host + run["namespace"] + "/srojobs/" + run["name"] + "/status"
    headers = {"Authorization": "Bearer " + (account / "token").read_text(), "Content-Type": "application/apply-patch+yaml"}
    query = "?fieldManager=sro-reporter&force=true"
    request = urllib.request.Request(url + query, data=json.dumps(body).encode(), headers=headers, method="PATCH")
    urllib.request.urlopen(request, context=ssl.create_default_context(cafile=str(account / "ca.crt"))).read()


signal.signal(signal.SIGTERM, on_sigterm)
print("attempt", run["attempt"], "rank", rank, flush=True)
if rank == 0:
    peer, _ = socket.create_server(("", address[1])).accept()
else:
    while True:
        try:
            peer = socket.create_connection(address, timeout=5)
            break
        except OSError:
            time.sleep(0.5)
print("met", flush=True)
step = 0
while not (shared / "finish").exists():
    step += 1
    if rank == 0:
        report(step)
    for wish in shared.glob(f"exit-{run['attempt']}-{rank}-*"):
        end(int(wish.name.rpartition("-")[2]), "Wished")
    time.sleep(0.5)
figures = {"rows": 4, "passRate": 1.0, "copyRate": 0.0, "emptyRate": 0.0}
end(0, "TrainingComplete", evaluation={"after": figures}, output={"uri": run["spec"]["output"]["uri"], "model": "/m"})
"""


@pytest.fixture(scope="module")
def operator_on_node(
    real_node: Node, node_kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator beside the node's cluster, under the chart's account."""
    plane = real_node.control_plane
    log = tmp_path_factory.mktemp("operator") / "log"
    with OperatorProcess(kubeconfig=install(plane, node_kubectl), log=log) as process:
        yield process
    # The other tests of this node install the chart by helm, which takes over nobody's objects.
    node_kubectl("delete", "--ignore-not-found", "-f", "-", stdin=rendered(plane))
    node_kubectl("delete", "namespace", SYSTEM, "--wait=true")


@pytest.fixture
def volume(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The claim's folder on this machine, which pods of another user may write to."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.is_relative_to(tmp_path_factory.getbasetemp()):
            parent.chmod(0o755)
    return folder


@pytest.fixture
def node_stage(
    operator_on_node: OperatorProcess, node_kubectl: Kubectl, python_image: str, volume: Path
) -> Iterator[Stage]:
    """A restricted namespace with the claim and the script."""
    node_kubectl.apply([restricted_namespace(NAMESPACE), *claim_on(volume, NAMESPACE)])
    script = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "script", "namespace": NAMESPACE}}
    node_kubectl.apply([{**script, "data": {"sro_trainer.py": TRAINER}}])
    stage = Stage(kubectl=node_kubectl, namespace=NAMESPACE)
    compute = {
        "nodes": 2,
        "image": python_image,
        "imagePullPolicy": "Never",
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "volumes": [{"name": "script", "configMap": {"name": "script"}}],
        "volumeMounts": [{"name": "script", "mountPath": "/opt/script"}],
        "env": [{"name": "PYTHONPATH", "value": "/opt/script"}],
    }
    stage.submit(compute=compute, output={"uri": "pvc://sro-data/demo"}, leader={"model": "pvc://sro-data/leader"},
                 data={"toxic": {"uri": "pvc://sro-data/t.txt"}, "neutral": {"uri": "pvc://sro-data/n.txt"}})  # fmt: skip
    yield stage
    node_kubectl("delete", "namespace", NAMESPACE, "--wait=true")
    node_kubectl("delete", "pv", "--all", "--wait=true")


def step_of(stage: Stage) -> int:
    return int(stage.status().get("progress", {}).get("step", 0))


def test_two_pods_meet_report_checkpoint_when_suspended_and_go_on(node_stage: Stage, volume: Path) -> None:
    node_stage.wait_phase("Running")
    wait_until(lambda: step_of(node_stage) >= 3, "rank 0 reports under its own token", lambda: str(node_stage.status()))
    node_stage.patch(suspend=True)
    node_stage.wait_phase("Suspended")
    node_stage.pods(1, count=0)
    assert sorted(path.name for path in volume.glob("checkpoint-*")) == ["checkpoint-1-0", "checkpoint-1-1"]
    stopped_at = step_of(node_stage)
    node_stage.patch(suspend=False)
    node_stage.wait_phase("Running", attempt=2)
    (volume / "finish").touch()
    status = node_stage.wait_phase("Complete")
    first, second = status["attempts"]
    assert (first["reason"], first["counted"]) == ("SuspendedByUser", False)
    assert (second["resumedFromStep"], second["reason"]) == (stopped_at, "TrainingComplete")
    assert status["evaluation"]["after"]["rows"] == 4
    assert status["output"] == {"uri": "pvc://sro-data/demo", "model": "/m"}


def test_a_pod_deleted_by_hand_costs_no_restart_and_a_failure_costs_one(node_stage: Stage, volume: Path) -> None:
    node_stage.wait_phase("Running")
    node_stage.kubectl("delete", "pod", node_stage.pods(1)[1], "-n", NAMESPACE)
    status = node_stage.wait_phase("Running", attempt=2)
    assert (status["attempts"][0]["reason"], status["restarts"]) == ("AttemptDisrupted", 0), status["attempts"]
    (volume / "exit-2-1-75").touch()
    status = node_stage.wait_phase("Running", attempt=3)
    assert (status["attempts"][1]["reason"], status["restarts"]) == ("AttemptFailed", 1)
    exits = status["attempts"][1]["exits"]
    assert [(entry["index"], entry["exitCode"], entry["message"]) for entry in exits] == [
        (1, 75, "Wished: as the test said")
    ]
    assert "ends with 75" in sro(node_stage, "logs", "demo", "-n", NAMESPACE, "--attempt", "2", "--index", "1")
    assert "met" in sro(node_stage, "logs", "demo", "-n", NAMESPACE, "--tail", "5")
    (volume / "exit-3-0-66").touch()
    status = node_stage.wait_phase("Failed")
    assert condition(status, "Failed")["reason"] == "LossDiverged"
    assert status["restarts"] == 1


def sro(stage: Stage, *arguments: str) -> str:
    program = Path(sys.executable).with_name("sro")
    environment = {**os.environ, "KUBECONFIG": str(stage.kubectl.kubeconfig)}
    return subprocess.run(
        [str(program), *arguments], check=True, capture_output=True, text=True, env=environment
    ).stdout
