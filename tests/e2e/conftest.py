"""A real control plane and a real node for the tests of this folder, each started once a session."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))

from sro_cluster.client import Kubectl, kubectl_of
from sro_cluster.controlplane import ControlPlane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd, API server, controller manager and scheduler on loopback, without a node: for tests of the API."""
    with ControlPlane() as started:
        yield started


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """``kubectl`` as the administrator of ``control_plane``."""
    return kubectl_of(control_plane.binaries, control_plane.kubeconfig)
