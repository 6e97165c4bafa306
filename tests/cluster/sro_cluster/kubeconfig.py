"""Kubeconfig files, written as JSON, which is YAML too."""

import base64
import json
from pathlib import Path

from sro_cluster.pki import Pair


def write_kubeconfig(path: Path, *, server: str, authority: Path, user: Pair) -> Path:
    """Writes a self-contained kubeconfig: everything is embedded, so that the file can be moved alone."""
    credentials = {"client-certificate-data": _encoded(user.certificate), "client-key-data": _encoded(user.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sro", "cluster": {"server": server, "certificate-authority-data": _encoded(authority)}}],
        "users": [{"name": "sro", "user": credentials}],
        "contexts": [{"name": "sro", "context": {"cluster": "sro", "user": "sro"}}],
        "current-context": "sro",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
