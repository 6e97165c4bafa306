"""Removes what a node leaves behind below its folder, also when whatever started it was killed."""

import os
import signal
from pathlib import Path

from sro_cluster.commands import run
from sro_cluster.network import remove_network
from sro_cluster.processes import Processes

_SHIM = "containerd-shim-runc-v2"
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_POD_LOG_LINKS = Path("/var/log/containers")


def remove_leftovers(directory: Path) -> None:
    """Stops the processes of a cluster's folder, ends its containers, and removes its mounts and its network."""
    Processes(directory, die_with_parent=False).stop_all()
    _end_containers(directory / "containerd")
    _unmount_below(directory)
    remove_network()
    _remove_log_links(directory)
    _remove_control_groups()


def _end_containers(directory: Path) -> None:
    for shim in _shims_of(directory / "containerd.sock"):
        os.kill(shim, signal.SIGKILL)
    for container in (directory / "runc").glob("*/*"):
        run(["runc", "--root", container.parent, "delete", "--force", container.name])


def _shims_of(socket: Path) -> list[int]:
    """The pids of the shims that belong to the containerd of one socket, and to no other."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if Path(words[0]).name == _SHIM and str(socket) in words:
            found.append(int(entry.name))
    return found


def _unmount_below(directory: Path) -> None:
    """Unmounts everything below a folder, the innermost first; lazily, for a dying process may still hold one."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].replace(r"\040", " ") for line in lines]
    for point in sorted((each for each in points if each.startswith(f"{directory}/")), reverse=True):
        run(["umount", "--lazy", point])


def _remove_log_links(directory: Path) -> None:
    """The kubelet links to each container's log from a folder that cannot be configured."""
    for link in _POD_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{directory}/"):
            link.unlink()


def _remove_control_groups() -> None:
    """The runtime puts its containers into groups below one that it never removes; another runtime's is not empty."""
    for group in [*_CONTROL_GROUPS.glob("k8s.io"), *_CONTROL_GROUPS.glob("*/k8s.io")]:
        if not any(entry.is_dir() for entry in group.iterdir()):
            group.rmdir()
