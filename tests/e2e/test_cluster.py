"""The cluster that the other tests of this folder stand on is a real one."""

import json

import pytest
from sro_cluster.client import Kubectl
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
