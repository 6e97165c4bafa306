"""Cluster names: CoreDNS beside the node, and the Service by which pods reach it."""

from sro_cluster.client import Kubectl, Manifest
from sro_cluster.controlplane import NODE_ADDRESS, ControlPlane, answers

DNS_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
_USER = "system:coredns"
_READY_PORT = 8181
_READY_SECONDS = 30.0


def start_dns(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    """Starts CoreDNS on the node's address and returns when it knows the cluster's names."""
    kubectl.apply(_manifests())
    kubeconfig = control_plane.component_kubeconfig("coredns", user=_USER)
    corefile = control_plane.directory / "Corefile"
    corefile.write_text(
        f""".:53 {{
    bind {NODE_ADDRESS}
    errors
    ready {NODE_ADDRESS}:{_READY_PORT}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
}}
"""
    )
    control_plane.processes.start("coredns", [control_plane.binaries / "coredns", "-conf", corefile])
    ready = f"http://{NODE_ADDRESS}:{_READY_PORT}/ready"
    control_plane.processes.wait_until("coredns", lambda: answers(ready), seconds=_READY_SECONDS)


def _manifests() -> list[Manifest]:
    """The Service has no selector, for CoreDNS runs in no pod; its endpoints are written here instead of by a controller."""
    name = {"name": "kube-dns", "namespace": "kube-system"}
    ports = [{"name": f"dns-{protocol.lower()}", "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    group = "rbac.authorization.k8s.io"
    watched = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods", "endpoints"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": name,
            "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**name, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
            "ports": ports,
        },
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": _USER}, "rules": watched},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": _USER},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": _USER},
            "subjects": [{"apiGroup": group, "kind": "User", "name": _USER}],
        },
    ]
