"""The cluster that the other tests of this folder stand on is a real one."""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sro_cluster.binaries import Component, ensure_binaries
from sro_cluster.client import Kubectl, Manifest
from sro_cluster.controlplane import ControlPlane
from sro_cluster.errors import ClusterError
from sro_cluster.network import BRIDGE
from sro_cluster.node import Node, stop_node
from sro_cluster.processes import Processes

CLUSTER_TOOL = Path(__file__).resolve().parents[1] / "cluster"

_HOLD_A_PROCESS = """
import sys
from pathlib import Path
from sro_cluster.network import BRIDGE
from sro_cluster.node import Node, stop_node
from sro_cluster.processes import Processes

Processes(Path(sys.argv[1]), die_with_parent=True).start("sleep", ["sleep", "1000"])
print("started", flush=True)
sys.stdin.read()
"""


def test_no_process_outlives_a_test_run_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLD_A_PROCESS, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(CLUSTER_TOOL)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"started\n"
        (recorded,) = json.loads((tmp_path / "processes.json").read_text())
        handle = os.pidfd_open(recorded["pid"])
        holder.kill()
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    ended = poller.poll(30_000)
    os.close(handle)
    assert ended == [(handle, select.POLLIN)]


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_a_stranger_that_was_given_a_recorded_pid_is_left_alone(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    record = [{"name": "etcd", "pid": bystander.pid, "start_ticks": 1}]
    (tmp_path / "processes.json").write_text(json.dumps(record))
    Processes(tmp_path, die_with_parent=False).stop_all()
    assert bystander.poll() is None


def test_a_recorded_process_is_stopped_by_another_call(tmp_path: Path) -> None:
    Processes(tmp_path, die_with_parent=False).start("sleep", ["sleep", "1000"])
    later = Processes(tmp_path, die_with_parent=False)
    assert later.names_alive() == ["sleep"]
    later.stop_all()
    assert later.names_alive() == []


def test_a_program_that_ends_while_it_starts_is_reported_with_its_last_words(tmp_path: Path) -> None:
    processes = Processes(tmp_path, die_with_parent=True)
    processes.start("etcd", ["sh", "-c", "echo the disk is full >&2; exit 1"])
    with pytest.raises(ClusterError, match="etcd ended while it was starting: the disk is full"):
        processes.wait_until("etcd", lambda: False, seconds=30)


@pytest.mark.skipif(shutil.which("go") is None, reason="no go on PATH: fetching one is not this test's business")
def test_a_damaged_program_is_built_again_and_an_intact_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRO_CACHE", str(tmp_path / "cache"))
    # Only to compile Go's own runtime once, not twice.
    monkeypatch.setenv("GOCACHE", str(tmp_path / "compiled"))
    source = tmp_path / "hello"
    source.mkdir()
    (source / "go.mod").write_text("module hello\n\ngo 1.24\n")
    (source / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    component = Component(name="hello", folder=str(source), links=("hi",))

    program = ensure_binaries((component,)) / "hello"
    built = program.stat().st_ino
    ensure_binaries((component,))
    assert program.stat().st_ino == built

    with program.open("ab") as stream:
        stream.write(b"damage")
    ensure_binaries((component,))
    said = subprocess.run([program.parent / "hi"], capture_output=True, check=True).stderr
    assert (said, program.read_bytes().endswith(b"damage")) == (b"hello\n", False)


@pytest.mark.e2e
def test_the_api_server_says_the_version_it_was_built_from(kubectl: Kubectl) -> None:
    server = json.loads(kubectl("version", "-o", "json"))["serverVersion"]
    assert server["gitVersion"] == "v1.36.3"


@pytest.mark.e2e
def test_controllers_give_each_namespace_its_service_account(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "with-account")
    kubectl("wait", "--for=create", "serviceaccount/default", "-n", "with-account", "--timeout=30s")
    accounts = kubectl.get("serviceaccounts", "-n", "with-account")["items"]
    assert [account["metadata"]["name"] for account in accounts] == ["default"]


@pytest.mark.e2e
def test_a_service_account_may_do_only_what_a_role_allows(kubectl: Kubectl, control_plane: ControlPlane) -> None:
    kubectl("create", "namespace", "rbac")
    kubectl("create", "serviceaccount", "reader", "-n", "rbac")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps", "-n", "rbac")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=rbac:reader", "-n", "rbac")
    token = kubectl("create", "token", "reader", "-n", "rbac").strip()
    as_reader = ("--kubeconfig=/dev/null", f"--server={control_plane.server}", f"--token={token}")
    trust = f"--certificate-authority={control_plane.authority.pair.certificate}"
    assert "kube-root-ca.crt" in kubectl(*as_reader, trust, "get", "configmaps", "-n", "rbac")
    with pytest.raises(ClusterError, match="cannot list resource"):
        kubectl(*as_reader, trust, "get", "secrets", "-n", "rbac")


@pytest.mark.e2e
def test_a_restricted_namespace_refuses_a_pod_that_runs_as_root(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "refusing")
    kubectl("label", "namespace", "refusing", "pod-security.kubernetes.io/enforce=restricted")
    with pytest.raises(ClusterError, match='violates PodSecurity "restricted'):
        kubectl("run", "rooted", "--image=docker.io/sro/none:dev", "-n", "refusing")


_PAIR = """
import json, os, socket, ssl, time, urllib.error, urllib.request

mine, other = os.environ["JOB_COMPLETION_INDEX"], {"0": "1", "1": "0"}[os.environ["JOB_COMPLETION_INDEX"]]
if mine == "0":
    with socket.create_server(("", 9000)) as server:
        peer, _ = server.accept()
else:
    deadline = time.monotonic() + 60
    while True:
        try:
            peer = socket.create_connection(("pair-0.pair", 9000), timeout=5)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
peer.sendall(mine.encode())
print("met", peer.recv(1).decode())
account = "/var/run/secrets/kubernetes.io/serviceaccount"
request = urllib.request.Request("https://10.96.0.1/api/v1/namespaces/restricted/pods")
request.add_header("Authorization", "Bearer " + open(account + "/token").read())
trust = ssl.create_default_context(cafile=account + "/ca.crt")
try:
    urllib.request.urlopen(request, context=trust, timeout=20)
except urllib.error.HTTPError as error:
    print(json.load(error)["message"])
print("user", os.getuid(), "root is writable", os.access("/", os.W_OK))
"""


@pytest.mark.node
def test_two_restricted_pods_find_each_other_by_name_and_reach_the_api_server(
    node_kubectl: Kubectl, python_image: str
) -> None:
    node_kubectl("create", "namespace", "restricted")
    node_kubectl("label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted")
    node_kubectl("wait", "--for=create", "serviceaccount/default", "-n", "restricted", "--timeout=30s")
    node_kubectl.apply([_headless_service(), _pair_of_pods(python_image)])

    node_kubectl("wait", "--for=condition=Complete", "job/pair", "-n", "restricted", "--timeout=120s")

    logs = [_log_of(node_kubectl, index).splitlines() for index in (0, 1)]
    refusal = 'User "system:serviceaccount:restricted:default" cannot list resource "pods"'
    assert [lines[0] for lines in logs] == ["met 1", "met 0"]
    assert [refusal in lines[1] for lines in logs] == [True, True]
    assert [lines[2] for lines in logs] == ["user 65532 root is writable False"] * 2


@pytest.mark.node
def test_a_second_node_is_refused_with_the_place_of_the_first(real_node: Node, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=f"another node runs on this machine, in {real_node.directory}$"):
        Node(tmp_path)


@pytest.mark.node
def test_stopping_the_cluster_of_another_folder_leaves_the_node_its_network(real_node: Node, tmp_path: Path) -> None:
    stop_node(tmp_path)
    assert Path("/sys/class/net", BRIDGE).exists()


def _log_of(kubectl: Kubectl, index: int) -> str:
    return kubectl("logs", "-n", "restricted", "-l", f"batch.kubernetes.io/job-completion-index={index}")


def _headless_service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "pair", "namespace": "restricted"},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"batch.kubernetes.io/job-name": "pair"},
        },
    }


def _pair_of_pods(image: str) -> Manifest:
    container = {
        "name": "python",
        "image": image,
        "command": ["python3", "-c", _PAIR],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "subdomain": "pair",
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "pair", "namespace": "restricted"},
        "spec": {
            "completionMode": "Indexed",
            "completions": 2,
            "parallelism": 2,
            "backoffLimit": 0,
            "template": {"spec": pod},
        },
    }
