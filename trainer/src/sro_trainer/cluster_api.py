"""The one request that a trainer makes of the API server: server-side apply of its own job's `status.progress`."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path

from sro_api import labels
from sro_api.run_config import RunConfig
from sro_api.status import ProgressStatus

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, kw_only=True)
class ApiServer:
    """Where the API server answers and how a pod proves who it is."""

    host: str
    port: int
    account: Path = SERVICE_ACCOUNT
    """Folder of `token` and `ca.crt`."""
    timeout_seconds: float = 10.0


def apply_progress(server: ApiServer, config: RunConfig, progress: ProgressStatus) -> None:
    """Write `status.progress` and nothing else.

    The token is read each time: the kubelet renews the file about every hour.

    Raises:
        OSError: the server was not reached, or the account's files are not there (ssl.SSLError is one too).
        http.client.HTTPException: it answered no HTTP.
        PermissionError: it refused; the message has its status and reason.
    """
    token = (server.account / "token").read_text(encoding="ascii").strip()
    context = ssl.create_default_context(cafile=str(server.account / "ca.crt"))
    connection = http.client.HTTPSConnection(server.host, server.port, timeout=server.timeout_seconds, context=context)
    try:
        connection.request("PATCH", _path(config), body=_body(config, progress), headers=_headers(token))
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        raise PermissionError(f"{response.status} {response.reason}: {_reason(answer)}")


def _path(config: RunConfig) -> str:
    return (
        f"/apis/{labels.API_VERSION}/namespaces/{config.namespace}/{labels.PLURAL}/{config.name}/status"
        f"?fieldManager={labels.REPORTER_FIELD_MANAGER}&force=true"
    )


def _body(config: RunConfig, progress: ProgressStatus) -> str:
    """The uid makes the server refuse a report for a job of the same name made anew."""
    metadata = {"name": config.name, "namespace": config.namespace, **({"uid": config.uid} if config.uid else {})}
    # `kubectl get` prints a number with all its digits.
    status = {"progress": _rounded(progress.to_wire())}
    return json.dumps({"apiVersion": labels.API_VERSION, "kind": labels.KIND, "metadata": metadata, "status": status})


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _headers(token: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/apply-patch+yaml",
        "Accept": "application/json",
        "User-Agent": labels.REPORTER_FIELD_MANAGER,
    }


def _reason(answer: bytes) -> str:
    try:
        return str(json.loads(answer).get("message", ""))[:500]
    except (ValueError, AttributeError):
        return answer[:200].decode("utf-8", "replace")
