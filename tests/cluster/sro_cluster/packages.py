"""The Debian packages that a node and the image builds need."""

import os

from sro_cluster.commands import run
from sro_cluster.errors import ClusterError

PACKAGES = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "nftables",
    "iptables",
    "conntrack",
    "iproute2",
    "mmdebstrap",
    "buildah",
    "gcc",
    "libc6-dev",
    "openssl",
)


def install_node_dependencies() -> None:
    """Installs the packages that are absent.

    Raises:
        ClusterError: there is something to install and the caller is not root; names it.
    """
    absent = [name for name in PACKAGES if not _is_installed(name)]
    if not absent:
        return
    if os.geteuid() != 0:
        raise ClusterError(f"not root, and these packages are missing: {' '.join(absent)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=environment)
    run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *absent], env=environment)


def _is_installed(package: str) -> bool:
    try:
        return "install ok installed" in run(["dpkg-query", "-W", "-f=${Status}", package])
    except ClusterError:
        return False
