"""The node's network: a bridge of our own, its addresses, and a rule that keeps pods from any other network."""

import json
from pathlib import Path

from sro_cluster.commands import run
from sro_cluster.controlplane import NODE_ADDRESS
from sro_cluster.errors import ClusterError

BRIDGE = "sro0"
CNI_PLUGINS = Path("/usr/lib/cni")
_NETWORK = "sro"
_SUBNET = "10.97.0.0/24"
_FIRST_POD_ADDRESS = "10.97.0.10"
_TABLE = "sro-cluster"
_PROXY_TABLE = "kube-proxy"
_CNI_RESULTS = Path("/var/lib/cni/results")


def check_network_is_free() -> None:
    """Makes sure that nothing of somebody else's would be used, and removed in the end.

    Raises:
        ClusterError: a bridge of that name or another kube-proxy's rules are there already.
    """
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        raise ClusterError(f"the interface {BRIDGE} exists already: stop the other cluster first")
    if _has_table(_PROXY_TABLE):
        raise ClusterError("there are nftables rules of another kube-proxy on this machine")


def create_bridge() -> None:
    """Makes the bridge with the node's address.

    Pods reach each other and the node by it. Packets that come from it are forwarded, for the sake of cluster IPs, but to
    no other interface; forwarding on the rest of the machine stays as it is.
    """
    run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "address", "add", f"{NODE_ADDRESS}/{_SUBNET.rpartition('/')[2]}", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    Path(f"/proc/sys/net/ipv4/conf/{BRIDGE}/forwarding").write_text("1")
    # Answers from pod to pod stay within the bridge; only so does the packet filter see them and undo the cluster IP.
    bridged = Path(f"/sys/class/net/{BRIDGE}/bridge/nf_call_iptables")
    if bridged.exists():
        bridged.write_text("1")
    rule = f'type filter hook forward priority filter; iifname "{BRIDGE}" oifname != "{BRIDGE}" drop'
    run(["nft", "-f", "-"], stdin=f"table inet {_TABLE} {{\nchain forward {{\n{rule}\n}}\n}}\n")


def write_cni_configuration(folder: Path, *, addresses: Path) -> None:
    """Writes the CNI configuration.

    Args:
        folder: what the container runtime reads.
        addresses: where the plug-in notes which addresses are taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address_range = {"subnet": _SUBNET, "rangeStart": _FIRST_POD_ADDRESS, "gateway": NODE_ADDRESS}
    # Not a "gateway" in the plug-in's sense: that would switch on forwarding for the whole machine.
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(addresses),
            "ranges": [[address_range]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    document = {"cniVersion": "0.4.0", "name": _NETWORK, "plugins": [bridge]}
    (folder / "10-sro.conflist").write_text(json.dumps(document, indent=1))


def remove_network() -> None:
    """Removes what a node left: the bridge, rules, and the CNI's notes. A pod's interface goes with its namespace."""
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        run(["ip", "link", "delete", BRIDGE])
    for family, table in (("inet", _TABLE), ("ip", _PROXY_TABLE), ("ip6", _PROXY_TABLE)):
        if f"table {family} {table}\n" in run(["nft", "list", "tables"]):
            run(["nft", "delete", "table", family, table])
    for ours in _CNI_RESULTS.glob(f"{_NETWORK}-*-eth0"):
        container = ours.name.split("-")[1]
        for note in _CNI_RESULTS.glob(f"*-{container}-*"):  # the loopback's note bears another network's name
            note.unlink()


def _has_table(name: str) -> bool:
    return any(line.split()[-1] == name for line in run(["nft", "list", "tables"]).splitlines())
