"""Where the API server is, and as whom to enter it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
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
            await config.load_kube_config(config_file=_kubeconfig(), client_configuration=settings)
    except config.ConfigException as error:
        raise ConfigError(f"no cluster: {error}") from error
    # Left to itself the session would read a netrc file before each request, on another thread, and stumble over what it found there:
    # the token is the credential. Of the environment only the proxy counts, which is looked up once.
    settings.proxy = settings.proxy or proxy_of(settings.host)
    settings.client_session_kwargs = {"trust_env": False, "cookie_jar": aiohttp.DummyCookieJar()}
    return settings


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a URL (`HTTPS_PROXY` and `HTTP_PROXY`, in either case, unless `NO_PROXY` has its host)."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def current_namespace() -> str:
    """The namespace of the kubeconfig's current context; `default` where it names none."""
    if not _has_kubeconfig():
        return "default"
    try:
        _, active = config.list_kube_config_contexts(config_file=_kubeconfig())
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
