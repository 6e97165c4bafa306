"""One real node: containerd, kubelet, kube-proxy and CoreDNS on this machine. Needs root."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from sro_cluster.claim import Claim, forget, note, noted_directory
from sro_cluster.client import kubectl_of
from sro_cluster.commands import missing
from sro_cluster.containerd import PAUSE_IMAGE, Containerd
from sro_cluster.controlplane import NODE_ADDRESS, ControlPlane
from sro_cluster.dns import start_dns
from sro_cluster.errors import ClusterError
from sro_cluster.kubelet import NODE_NAME, start_kubelet, start_proxy
from sro_cluster.leftovers import remove_leftovers
from sro_cluster.network import CNI_PLUGINS, check_network_is_free, create_bridge, write_cni_configuration
from sro_cluster.pause import write_pause_archive

_PROGRAMS = ("containerd", "ctr", "runc", "nft", "conntrack", "ip", "gcc", "openssl")


def obstacle() -> str | None:
    """Why no node can run here, in one line, or None."""
    if os.geteuid() != 0:
        return "a node needs root"
    absent = missing(_PROGRAMS)
    if not (CNI_PLUGINS / "bridge").exists():
        absent.append(str(CNI_PLUGINS / "bridge"))
    return f"a node needs {', '.join(absent)}: run `python -m sro_cluster install-node-deps`" if absent else None


class Node:
    """A control plane with a node, as a context manager: ready on entry, gone on exit. One at a time on a machine."""

    def __init__(self, directory: Path | None = None, *, die_with_parent: bool = True, audit: bool = False) -> None:
        """See :class:`ControlPlane`, which takes the same; the API server listens on the node's bridge here."""
        why_not = obstacle()
        if why_not:
            raise ClusterError(why_not)
        self._claim = Claim.take()
        remove_last_node()
        self.control_plane = ControlPlane(
            directory, bind_address=NODE_ADDRESS, die_with_parent=die_with_parent, audit=audit
        )
        self.directory = self.control_plane.directory
        self.containerd = Containerd(self.directory / "containerd", self.control_plane.processes)
        self.kubeconfig = self.control_plane.kubeconfig
        self.binaries = Path()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything and returns when the node is ready for pods.

        Raises:
            ClusterError: a part failed, or was not ready in time.
        """
        check_network_is_free()
        note(self.directory)
        create_bridge()
        self.control_plane.start()
        self.binaries = self.control_plane.binaries
        write_cni_configuration(self.containerd.cni_configuration, addresses=self.directory / "addresses")
        self.containerd.start()
        if PAUSE_IMAGE not in self.containerd.images():
            self.containerd.import_image(write_pause_archive(self.directory, PAUSE_IMAGE))
        kubectl = kubectl_of(self.binaries, self.kubeconfig)
        start_dns(self.control_plane, kubectl)
        start_kubelet(self.control_plane, runtime_socket=self.containerd.socket, lock=self._claim.fileno())
        start_proxy(self.control_plane)
        kubectl("wait", "--for=create", f"node/{NODE_NAME}", "--timeout=60s")
        kubectl("wait", "--for=condition=Ready", f"node/{NODE_NAME}", "--timeout=60s")

    def stop(self) -> None:
        """Stops everything and removes interfaces, rules, mounts and containers."""
        try:
            for name in ("kubelet", "kube-proxy"):
                self.control_plane.processes.stop(name)
            self.containerd.stop()
        finally:
            stop_node(self.directory)
            self.control_plane.stop()
            self._claim.release()

    def detach(self) -> None:
        """Leaves the node to itself: its kubelet holds the claim from now on."""
        self._claim.release()


def remove_last_node() -> None:
    """Cleans up after a node that was killed instead of stopped. The claim must be held."""
    last = noted_directory()
    if last:
        remove_leftovers(last)
        forget()


def stop_node(directory: Path) -> None:
    """Stops the node of this folder, its control plane included; changes nothing if none was started there.

    The network is the machine's: another folder's node, or another program, would lose its own.
    """
    if noted_directory() == directory:
        remove_leftovers(directory)
        forget()


def remove_state(directory: Path) -> None:
    """Removes the data of a stopped cluster and keeps its logs."""
    for name in ("etcd", "pki", "kubelet", "containerd", "addresses", "pod-logs"):
        shutil.rmtree(directory / name, ignore_errors=True)
