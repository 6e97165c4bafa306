"""A real control plane and a real node for the tests of this folder, each started once a session when first asked for."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

from sro_cluster import images
from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.controlplane import ControlPlane
from sro_cluster.node import Node, obstacle


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd, API server, controller manager and scheduler on loopback, without a node: for tests of the API."""
    with ControlPlane(_log_directory("control-plane"), audit=True) as started:
        yield started


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """``kubectl`` as the administrator of ``control_plane``."""
    return kubectl_of(control_plane.binaries, control_plane.kubeconfig)


@pytest.fixture(scope="session")
def real_node() -> Iterator[Node]:
    """A control plane of its own with a node that runs pods; skips, with the reason, where none can run."""
    why_not = obstacle()
    if why_not:
        pytest.skip(why_not)
    with Node(_log_directory("node")) as started:
        yield started


@pytest.fixture(scope="session")
def node_kubectl(real_node: Node) -> Kubectl:
    """``kubectl`` as the administrator of ``real_node``."""
    return kubectl_of(real_node.binaries, real_node.kubeconfig)


@pytest.fixture(scope="session")
def python_image(real_node: Node) -> str:
    """Debian with Python, on the node: for pods that try something small."""
    images.build_images(())
    images.load_images(real_node.containerd, (images.PYTHON_IMAGE,))
    return images.PYTHON_IMAGE


@pytest.fixture(scope="session")
def operator_image(real_node: Node) -> str:
    """The operator's image of the code as it is now, on the node."""
    return _built(real_node, images.OPERATOR)


@pytest.fixture(scope="session")
def trainer_image(real_node: Node) -> str:
    """The trainer's image of the code as it is now, on the node; the first build takes minutes."""
    return _built(real_node, images.TRAINER)


def _built(node: Node, image: images.Image) -> str:
    images.build_images((image,))
    images.load_images(node.containerd, (image.reference,))
    return image.reference


def _log_directory(name: str) -> Path | None:
    """Below ``$SRO_E2E_LOGS`` where that is set, so that logs outlive the tests; else a temporary folder."""
    root = os.environ.get("SRO_E2E_LOGS")
    return Path(root) / name if root else None
