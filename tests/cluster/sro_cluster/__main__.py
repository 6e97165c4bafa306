"""``python -m sro_cluster COMMAND``: a real Kubernetes cluster on this machine, for tests and by hand."""

import argparse
import os
import sys
from pathlib import Path

from sro_cluster import log
from sro_cluster.binaries import ensure_binaries
from sro_cluster.controlplane import ControlPlane
from sro_cluster.errors import ClusterError
from sro_cluster.images import ALL, build_and_load
from sro_cluster.locations import default_directory
from sro_cluster.node import Node, obstacle, remove_state, stop_node
from sro_cluster.packages import install_node_dependencies
from sro_cluster.processes import Processes

_EXAMPLES = """examples:
  eval "$(python -m sro_cluster up | tail -2)"   # a cluster; then: kubectl get nodes
  python -m sro_cluster up --no-node             # the API alone, without root
  python -m sro_cluster images --only operator   # after a change of the operator's code
  python -m sro_cluster down
"""


def main() -> int:
    """Runs one command; returns the exit code."""
    arguments = _parser().parse_args()
    log.configure()
    try:
        arguments.run(arguments)
    except ClusterError as error:
        print(f"sro_cluster: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sro_cluster",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build what is absent of the programs, once")
    build.set_defaults(run=lambda _: print(_path_line(ensure_binaries())))
    up = commands.add_parser("up", help="start a cluster; the last lines are for the shell")
    up.add_argument(
        "--node", action=argparse.BooleanOptionalAction, help="with or without a node; default: if it can be"
    )
    up.add_argument("--dir", type=Path, default=default_directory(), help="for keys, data and logs (%(default)s)")
    up.add_argument("--audit", action="store_true", help="write an audit log")
    up.set_defaults(run=_up)
    down = commands.add_parser("down", help="stop what `up` started, and nothing else")
    down.add_argument("--dir", type=Path, default=default_directory())
    down.set_defaults(run=_down)
    images = commands.add_parser("images", help="build the images and give them to the node's containerd")
    images.add_argument("--only", choices=[image.name for image in ALL], action="append", help="of these images only")
    images.set_defaults(run=_images)
    install = commands.add_parser("install-node-deps", help="install the Debian packages that a node needs (root)")
    install.set_defaults(run=lambda _: install_node_dependencies())
    return parser


def _up(arguments: argparse.Namespace) -> None:
    directory = arguments.dir.absolute()
    running = Processes(directory, die_with_parent=False).names_alive() if directory.exists() else []
    if running:
        raise ClusterError(f"a cluster runs in {directory} already ({', '.join(running)}): stop it with `down`")
    with_node = obstacle() is None if arguments.node is None else arguments.node
    if with_node:
        node = Node(directory, die_with_parent=False, audit=arguments.audit)
        _start(node)
        node.detach()
    else:
        if arguments.node is None:
            print(f"# no node: {obstacle()}", file=sys.stderr)
        _start(ControlPlane(directory, die_with_parent=False, audit=arguments.audit))
    print(_path_line(ensure_binaries()))
    print(f"export KUBECONFIG={directory / 'kubeconfig'}")


def _start(cluster: Node | ControlPlane) -> None:
    """Starts a cluster, or leaves nothing of it running."""
    try:
        cluster.start()
    except BaseException:
        cluster.stop()
        raise


def _down(arguments: argparse.Namespace) -> None:
    directory = arguments.dir.absolute()
    if not directory.exists():
        return
    if os.geteuid() == 0:
        stop_node(directory)
    Processes(directory, die_with_parent=False).stop_all()
    remove_state(directory)


def _images(arguments: argparse.Namespace) -> None:
    chosen = tuple(image for image in ALL if not arguments.only or image.name in arguments.only)
    build_and_load(chosen)


def _path_line(binaries: Path) -> str:
    return f"export PATH={binaries}:$PATH"


if __name__ == "__main__":
    sys.exit(main())
