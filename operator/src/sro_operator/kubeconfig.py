"""Where the API server is, and as whom to enter it."""

from __future__ import annotations

import os
from pathlib import Path

from kubernetes.aio import client, config

_SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class ConfigError(Exception):
    """There is no way to find or enter a cluster; the message says why."""


async def find_cluster() -> client.Configuration:
    """Find the API server: `$KUBECONFIG`, else the pod's own account, else ~/.kube/config.

    Raises:
        ConfigError: there is none to be found.
    """
    settings = client.Configuration()
    try:
        if _SERVICE_ACCOUNT_TOKEN.exists() and not os.environ.get("KUBECONFIG"):
            config.load_incluster_config(client_configuration=settings)
        else:
            _require_kubeconfig()
            await config.load_kube_config(client_configuration=settings)
    except config.ConfigException as error:
        raise ConfigError(f"no cluster: {error}") from error
    return settings


def current_namespace() -> str:
    """The namespace of the kubeconfig's current context; `default` where it names none."""
    if not _has_kubeconfig():
        return "default"
    try:
        _, active = config.list_kube_config_contexts()
    except config.ConfigException:
        return "default"
    return str((active or {}).get("context", {}).get("namespace") or "default")


def _kubeconfig() -> str:
    """The paths at which a kubeconfig may lie, as $KUBECONFIG has them."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _has_kubeconfig() -> bool:
    return any(Path(path).expanduser().is_file() for path in _kubeconfig().split(os.pathsep) if path)


def _require_kubeconfig() -> None:
    """The client's own words on a missing file do not name it."""
    if not _has_kubeconfig():
        raise ConfigError(f"no cluster: there is no kubeconfig at {_kubeconfig()}; set KUBECONFIG")
