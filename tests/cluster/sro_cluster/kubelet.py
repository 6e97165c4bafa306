"""The kubelet and kube-proxy of the one node."""

import json
from collections.abc import Mapping
from pathlib import Path

from sro_cluster.controlplane import NODE_ADDRESS, ControlPlane, answers, free_ports
from sro_cluster.dns import CLUSTER_DOMAIN, DNS_ADDRESS
from sro_cluster.network import BRIDGE

NODE_NAME = "sro-node"
_LOOPBACK = "127.0.0.1"
_READY_SECONDS = 60.0


def start_kubelet(control_plane: ControlPlane, *, runtime_socket: Path, lock: int) -> None:
    """Starts the kubelet and returns when it says that it is healthy; the node gets ready a little later.

    Args:
        runtime_socket: of the container runtime.
        lock: a file descriptor that the kubelet keeps open, so that the lock on it lasts as long as the node.
    """
    directory = control_plane.directory
    port, health_port = free_ports(2)
    serving = control_plane.authority.issue("kubelet", user=NODE_NAME, addresses=(f"IP:{NODE_ADDRESS}",))
    configuration: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": port,
        "healthzBindAddress": _LOOPBACK,
        "healthzPort": health_port,
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {
            "x509": {"clientCAFile": str(control_plane.authority.pair.certificate)},
            "webhook": {"enabled": True},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": CLUSTER_DOMAIN,
        "clusterDNS": [DNS_ADDRESS],
        "resolvConf": str(_empty_resolver(directory)),
        "containerRuntimeEndpoint": f"unix://{runtime_socket}",
        "podLogsDir": str(directory / "pod-logs"),
        "volumePluginDir": str(directory / "volume-plugins"),
        **_RESOURCES,
    }
    root = directory / "kubelet"
    kubeconfig = control_plane.component_kubeconfig("node", user=f"system:node:{NODE_NAME}", group="system:nodes")
    flags = [
        f"--config={_write(directory / 'kubelet.json', configuration)}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
        f"--root-dir={root}",
        f"--cert-dir={root / 'pki'}",
    ]
    processes = control_plane.processes
    processes.start("kubelet", [control_plane.binaries / "kubelet", *flags], pass_fds=(lock,))
    health = f"http://{_LOOPBACK}:{health_port}/healthz"
    processes.wait_until("kubelet", lambda: answers(health), seconds=_READY_SECONDS)


def start_proxy(control_plane: ControlPlane) -> None:
    """Starts kube-proxy, which makes cluster IPs answer by nftables rules."""
    health_port, metrics_port = free_ports(2)
    kubeconfig = control_plane.component_kubeconfig("kube-proxy", user="system:kube-proxy")
    configuration: dict[str, object] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": f"{_LOOPBACK}:{health_port}",
        "metricsBindAddress": f"{_LOOPBACK}:{metrics_port}",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": NODE_NAME,
        "detectLocalMode": "BridgeInterface",
        "detectLocal": {"bridgeInterface": BRIDGE},
        # Zeros leave the machine's own connection tracking limits as they are.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    path = _write(control_plane.directory / "kube-proxy.json", configuration)
    processes = control_plane.processes
    processes.start("kube-proxy", [control_plane.binaries / "kube-proxy", f"--config={path}"])
    health = f"http://{_LOOPBACK}:{health_port}/healthz"
    processes.wait_until("kube-proxy", lambda: answers(health), seconds=_READY_SECONDS)


_RESOURCES: Mapping[str, object] = {
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "failCgroupV1": False,
    "failSwapOn": False,
    # The host's iptables are not ours to change; kube-proxy uses nftables.
    "makeIPTablesUtilChains": False,
    # A full disk must not make the kubelet remove images that no registry could give back, the pause image first.
    "imageGCHighThresholdPercent": 100,
    "imageGCLowThresholdPercent": 99,
    "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
}


def _empty_resolver(directory: Path) -> Path:
    """A resolver configuration without servers or search domains: pods must not depend on the host's."""
    path = directory / "resolv.conf"
    path.write_text("")
    return path


def _write(path: Path, document: Mapping[str, object]) -> Path:
    path.write_text(json.dumps(document, indent=1))
    return path
