"""The only module that speaks to the API server, through the official client's `kubernetes.aio`."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from sro_api.base import Manifest
from sro_api.labels import API_VERSION, JOB_NAME_LABEL, KIND, OPERATOR_FIELD_MANAGER, PLURAL, STUDY_LABEL
from sro_operator.errors import ApiError
from sro_operator.keys import Key

REQUEST_SECONDS = 30
"""A request that takes longer has failed: it must not hold a worker."""
PAGE = 500
"""Objects per page of a list."""
_APPLY = "application/apply-patch+yaml"
_PLURALS = {
    "ConfigMap": "configmaps",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Job": "jobs",
    "Pod": "pods",
    "Event": "events",
    KIND: PLURAL,
}
_SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

RequestObserver = Callable[[str, str, int], None]
"""Called after each request with verb, resource and HTTP status (0: no answer)."""


class ConfigError(Exception):
    """There is no way to find or enter a cluster; the message says why."""


def _kubeconfig() -> str:
    """The paths at which a kubeconfig may lie, as $KUBECONFIG has them."""
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")


def _has_kubeconfig() -> bool:
    return any(Path(path).expanduser().is_file() for path in _kubeconfig().split(os.pathsep) if path)


def _require_kubeconfig() -> None:
    """The client's own words on a missing file do not name it."""
    if not _has_kubeconfig():
        named = _kubeconfig()
        raise ConfigError(f"no cluster: there is no kubeconfig at {named}; set KUBECONFIG")


def current_namespace() -> str:
    """The namespace of the kubeconfig's current context; `default` where it names none."""
    if not _has_kubeconfig():
        return "default"
    try:
        _, active = config.list_kube_config_contexts()
    except config.ConfigException:
        return "default"
    return str((active or {}).get("context", {}).get("namespace") or "default")


def _ignore(_verb: str, _resource: str, _status: int) -> None:
    """Count nothing."""


class Cluster:
    """One API server. Every method raises ApiError when its request fails, and nothing else."""

    def __init__(self, api: client.ApiClient, on_request: RequestObserver = _ignore) -> None:
        """Use a configured client."""
        self._api = api
        self._on_request = on_request

    @classmethod
    async def connect(cls, on_request: RequestObserver = _ignore) -> Self:
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
        return cls(client.ApiClient(settings), on_request)

    async def __aenter__(self) -> Self:
        """Leave it open for a while."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._api.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get_sro_job(self, key: Key) -> Manifest | None:
        """The SROJob; None if there is none."""
        try:
            return await self._call("GET", PLURAL, f"{_path(API_VERSION, KIND, key.namespace)}/{key.name}")
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def sro_jobs(self, namespaces: tuple[str, ...]) -> AsyncIterator[Manifest]:
        """Every SROJob of these namespaces, or of the whole cluster."""
        for path in [_path(API_VERSION, KIND, name) for name in namespaces] or [f"/apis/{API_VERSION}/{PLURAL}"]:
            async for manifest in self._pages(PLURAL, path, {}):
                yield manifest

    async def study_jobs(self, namespace: str, study: str) -> list[Manifest]:
        """The SROJobs that are cells of a study."""
        path = _path(API_VERSION, KIND, namespace)
        return [item async for item in self._pages(PLURAL, path, {"labelSelector": f"{STUDY_LABEL}={study}"})]

    async def create_sro_job(self, manifest: Manifest) -> Manifest:
        """Create an SROJob as its user would; a conflict (409) if one of its name is there."""
        return await self._call(
            "POST", PLURAL, _path(API_VERSION, KIND, manifest["metadata"]["namespace"]), body=manifest
        )

    async def jobs_of(self, key: Key) -> list[Manifest]:
        """The Jobs that carry this SROJob's name."""
        path = _path("batch/v1", "Job", key.namespace)
        return [item async for item in self._pages("jobs", path, {"labelSelector": f"{JOB_NAME_LABEL}={key.name}"})]

    async def pods_of(self, key: Key) -> list[Manifest]:
        """The pods that carry this SROJob's name."""
        path = _path("v1", "Pod", key.namespace)
        return [item async for item in self._pages("pods", path, {"labelSelector": f"{JOB_NAME_LABEL}={key.name}"})]

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply: what we owned and no longer name goes, what others own stays, unless we name it too."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        path = f"{_path(manifest['apiVersion'], kind, metadata['namespace'])}/{metadata['name']}"
        return await self._apply(_PLURALS[kind], path, manifest)

    async def apply_status(self, key: Key, uid: str, status: Manifest) -> Manifest:
        """Write the operator's whole part of the status; a conflict if the job is not the one with this uid any more."""
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "status": status,
        }
        path = f"{_path(API_VERSION, KIND, key.namespace)}/{key.name}/status"
        return await self._apply(f"{PLURAL}/status", path, body)

    async def delete(self, kind: str, key: Key, *, uid: str | None = None, resource_version: str | None = None) -> None:
        """Delete one object and, in the background, its children; no error if it is gone.

        Args:
            kind: Job, ConfigMap or SROJob.
            key: its namespace and name.
            uid: delete this very object or none.
            resource_version: delete it in this state or not at all (409).
        """
        wanted = {"uid": uid, "resourceVersion": resource_version}
        version = {"Job": "batch/v1", KIND: API_VERSION}.get(kind, "v1")
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {name: value for name, value in wanted.items() if value},
        }
        try:
            await self._call("DELETE", _PLURALS[kind], f"{_path(version, kind, key.namespace)}/{key.name}", body=body)
        except ApiError as error:
            if not error.is_not_found:
                raise

    async def create_event(self, event: Manifest) -> None:
        """Write an event; no error if one of its name is there, for then it was written before."""
        try:
            await self._call("POST", "events", _path("v1", "Event", event["metadata"]["namespace"]), body=event)
        except ApiError as error:
            if not error.is_conflict:
                raise

    async def pod_phase(self, key: Key) -> str:
        """The phase of one pod."""
        pod = await self._call("GET", "pods", f"{_path('v1', 'Pod', key.namespace)}/{key.name}")
        return str(pod.get("status", {}).get("phase", "Pending"))

    async def logs(self, key: Key, *, follow: bool, last_lines: int | None = None) -> AsyncIterator[str]:
        """The log of one pod's trainer container, line by line.

        Args:
            key: the pod's namespace and name.
            follow: go on until the container ends.
            last_lines: start with this many last lines; all if None.
        """
        query = {"container": "trainer", "follow": str(follow).lower()}
        if last_lines is not None:
            query["tailLines"] = str(last_lines)
        path = f"{_path('v1', 'Pod', key.namespace)}/{key.name}/log?{urlencode(query)}"
        response = await self._send("GET", "pods/log", path, timeout=aiohttp.ClientTimeout(total=None))
        try:
            async for line in response.content:
                yield line.decode("utf-8", errors="replace").rstrip("\n")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiError(0, f"the log of {key.name} broke off: {error or type(error).__name__}") from error

    async def _apply(self, resource: str, path: str, body: Manifest) -> Manifest:
        query = urlencode({"fieldManager": OPERATOR_FIELD_MANAGER, "force": "true"})
        return await self._call("PATCH", resource, f"{path}?{query}", body=body, content_type=_APPLY)

    async def _pages(self, resource: str, path: str, query: dict[str, str]) -> AsyncIterator[Manifest]:
        token = ""
        while True:
            page = {**query, "limit": str(PAGE), **({"continue": token} if token else {})}
            answer = await self._call("GET", resource, f"{path}?{urlencode(page)}")
            for item in answer.get("items", ()):
                yield item
            token = answer.get("metadata", {}).get("continue", "")
            if not token:
                return

    async def _call(
        self,
        method: str,
        resource: str,
        path: str,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        response = await self._send(method, resource, path, body=body, content_type=content_type, timeout=timeout)
        try:
            answer: Manifest = json.loads(await response.read())
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise ApiError(0, f"{method} {path}: {error or type(error).__name__}") from error
        return answer

    async def _send(
        self,
        method: str,
        resource: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        try:
            method, url, headers, body, _ = await self._api.param_serialize(
                method, path, header_params=headers, query_params=[], body=body, auth_settings=["BearerToken"]
            )
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            text = "" if response.ok else await response.text()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._on_request(method, resource, 0)
            raise ApiError(0, f"{method} {path}: {error or type(error).__name__}") from error
        self._on_request(method, resource, response.status)
        if not response.ok:
            raise _error_of(response, text)
        return response


def _error_of(response: aiohttp.ClientResponse, text: str) -> ApiError:
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text.strip() or str(response.reason)
    after = response.headers.get("Retry-After", "")
    return ApiError(response.status, message, retry_after_seconds=float(after) if after.isdecimal() else None)


def _path(api_version: str, kind: str, namespace: str) -> str:
    root = "/api" if api_version == "v1" else "/apis"
    return f"{root}/{api_version}/namespaces/{namespace}/{_PLURALS[kind]}"
