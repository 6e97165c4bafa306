"""The cluster that the other tests of this folder stand on is a real one."""

import json

import pytest
from sro_cluster.client import Kubectl, Manifest
from sro_cluster.controlplane import ControlPlane
from sro_cluster.errors import ClusterError


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
